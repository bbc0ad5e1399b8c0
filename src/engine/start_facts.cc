// SPDX-License-Identifier: Apache-2.0
#include "engine/start_facts.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/text.h"
#include "logs/log_options.h"
#include "sys/files.h"
#include "sys/process.h"

namespace caisson::engine {

static Result<int64_t> pid_of_peer(const std::string& mode, const ContainerRegistry& containers, const char* what) {
  auto peer = TRY(containers.find(mode.substr(mode.find(':') + 1)));
  auto record = peer->snapshot();
  // One that has just ended may still be noted as running, and its number be another's.
  bool runs = record->running() && record->pid != 0 &&
              sys::process_start_time(static_cast<pid_t>(record->pid)).value_or(0) ==
                  static_cast<uint64_t>(record->pid_start_time);
  if (!runs)
    return fail(ErrorKind::kConflict, "cannot join %s of a non running container: %s", what, record->id.c_str());
  return record->pid;
}

// A donor of its IPC namespace has agreed to it, itself or by sharing that of another.
static Result<> check_shareable(const std::string& mode, const ContainerRegistry& containers) {
  std::string name = mode.substr(mode.find(':') + 1);
  auto record = TRY(containers.find(name))->snapshot();
  const std::string& theirs = record->host_config.ipc_mode;
  if (theirs == "shareable" || theirs == "host" || theirs.starts_with("container:")) return {};
  return fail(
      ErrorKind::kInternal,
      "failed to join IPC namespace: container %s: non-shareable IPC (hint: use IpcMode:shareable for the donor "
      "container)",
      name.c_str());
}

Result<> find_shared_namespaces(const ContainerRecord& record, const ContainerRegistry& containers, SpecFacts& facts) {
  const auto& host = record.host_config;
  struct {
    const std::string& mode;
    const char *type, *file, *what;
  } const modes[] = {{host.network_mode, "network", "net", "network"},
                     {host.pid_mode, "pid", "pid", "PID namespace"},
                     {host.ipc_mode, "ipc", "ipc", "IPC namespace"}};
  for (const auto& entry : modes) {
    if (!entry.mode.starts_with("container:")) continue;
    auto pid = TRY(pid_of_peer(entry.mode, containers, entry.what));
    if (&entry.mode == &host.ipc_mode) TRY(check_shareable(entry.mode, containers));
    facts.namespace_paths[entry.type] = format("/proc/%lld/ns/%s", static_cast<long long>(pid), entry.file);
    if (std::string_view(entry.type) == "ipc")
      facts.shm_source = format("/proc/%lld/root/dev/shm", static_cast<long long>(pid));
  }
  if (host.ipc_mode == "host") facts.shm_source = "/dev/shm";
  return {};
}

Result<> take_network_names(ContainerRecord& record, const ContainerRegistry& containers, SpecFacts& facts) {
  const std::string& mode = record.host_config.network_mode;
  if (!mode.starts_with("container:")) return {};
  auto peer = TRY(containers.find(mode.substr(mode.find(':') + 1)))->snapshot();
  record.config.hostname = peer->config.hostname;
  record.config.domainname = peer->config.domainname;
  // The files are those of the first in a row of containers that have each other's network.
  for (int depth = 0; depth < 16 && peer->host_config.network_mode.starts_with("container:"); ++depth) {
    auto next = containers.find(peer->host_config.network_mode.substr(10));
    if (!next) break;
    peer = (*next)->snapshot();
  }
  facts.network_peer = peer->id;
  return {};
}

static Result<spec::OciDevice> device_at(const std::string& path, const std::string& inside) {
  struct stat st {};
  if (stat(path.c_str(), &st) < 0)
    return fail(ErrorKind::kInvalid,
                "error gathering device information while adding custom device \"%s\": no such file or directory",
                path.c_str());
  if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
    return fail(ErrorKind::kInvalid,
                "error gathering device information while adding custom device \"%s\": not a device node",
                path.c_str());
  spec::OciDevice device;
  device.path = inside;
  device.type = S_ISBLK(st.st_mode) ? "b" : "c";
  device.major = major(st.st_rdev);
  device.minor = minor(st.st_rdev);
  device.file_mode = st.st_mode & 0777;
  device.uid = st.st_uid;
  device.gid = st.st_gid;
  return device;
}

static void add_devices_below(const std::string& dir, int depth, std::vector<spec::OciDevice>& out) {
  auto names = sys::list_dir(dir);
  if (!names || depth > 3) return;
  for (const auto& name : *names) {
    if (depth == 0 && (name == "pts" || name == "shm" || name == "fd" || name == "mqueue" || name == "console" ||
                       name == "ptmx" || name == ".lxc" || name == ".lxd-mounts" || name == "null" || name == "zero" ||
                       name == "full" || name == "random" || name == "urandom" || name == "tty"))
      continue;
    std::string path = dir + "/" + name;
    struct stat st {};
    if (lstat(path.c_str(), &st) < 0) continue;
    if (S_ISDIR(st.st_mode)) {
      add_devices_below(path, depth + 1, out);
    } else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
      if (auto device = device_at(path, path)) out.push_back(std::move(*device));
    }
  }
}

Result<spec::OciBlockIo> find_block_limits(const spec::HostConfig& host_config) {
  struct Number {
    int64_t major, minor;
  };
  auto number_of = [](const std::string& path) -> Result<Number> {
    struct stat info {};
    if (stat(path.c_str(), &info) < 0)
      return fail(ErrorKind::kInvalid, "block I/O limit of '%s': %s", path.c_str(), errno_text(errno).c_str());
    if (!S_ISBLK(info.st_mode))
      return fail(ErrorKind::kInvalid, "block I/O limit of '%s': not a block device", path.c_str());
    return Number{static_cast<int64_t>(major(info.st_rdev)), static_cast<int64_t>(minor(info.st_rdev))};
  };
  spec::OciBlockIo out;
  for (const auto& device : host_config.blkio_weight_device) {
    if (device.weight != 0 && (device.weight < 10 || device.weight > 1000))
      return fail(ErrorKind::kInvalid, "Range of blkio weight is from 10 to 1000");
    auto number = TRY(number_of(device.path));
    out.weight_device.push_back({number.major, number.minor, static_cast<uint16_t>(device.weight), {}});
  }
  using Throttles = std::vector<spec::OciThrottleDevice>;
  for (auto [from, to] : {std::pair<const std::vector<spec::ThrottleDevice>*, Throttles*>{
                              &host_config.blkio_device_read_bps, &out.throttle_read_bps_device},
                          {&host_config.blkio_device_write_bps, &out.throttle_write_bps_device},
                          {&host_config.blkio_device_read_iops, &out.throttle_read_iops_device},
                          {&host_config.blkio_device_write_iops, &out.throttle_write_iops_device}})
    for (const auto& device : *from) {
      if (device.rate < 0)
        return fail(ErrorKind::kInvalid, "block I/O limit of '%s': %ld is negative", device.path.c_str(),
                    static_cast<long>(device.rate));
      auto number = TRY(number_of(device.path));
      to->push_back({number.major, number.minor, static_cast<uint64_t>(device.rate)});
    }
  return out;
}

Result<std::vector<spec::OciDevice>> find_host_devices(const spec::HostConfig& host_config) {
  std::vector<spec::OciDevice> devices;
  for (const auto& asked : host_config.devices) {
    std::string inside = asked.path_in_container.empty() ? asked.path_on_host : asked.path_in_container;
    for (char c : asked.cgroup_permissions)
      if (c != 'r' && c != 'w' && c != 'm')
        return fail(ErrorKind::kInvalid, "invalid device cgroup permissions: '%s'", asked.cgroup_permissions.c_str());
    devices.push_back(TRY(device_at(asked.path_on_host, inside)));
  }
  if (host_config.privileged) add_devices_below("/dev", 0, devices);
  return devices;
}

struct DeviceRequest {
  std::string driver;
  std::vector<std::vector<std::string>> capabilities;
};
CAISSON_JSON(DeviceRequest, CAISSON_FIELD("Driver", driver), CAISSON_FIELD_NULL("Capabilities", capabilities))

Result<> find_devices_by_request(const spec::HostConfig& host_config) {
  for (const auto& raw : host_config.device_requests) {
    auto request = TRY(json::decode<DeviceRequest>(raw.text));
    std::vector<std::string> sets;
    for (const auto& set : request.capabilities) sets.push_back("[" + join(set, " ") + "]");
    return fail(ErrorKind::kInternal, "could not select device driver \"%s\" with capabilities: [%s]",
                request.driver.substr(0, 64).c_str(), join(sets, " ").substr(0, 256).c_str());
  }
  return {};
}

Result<logs::LogConfig> log_config_of(const ContainerRecord& record, const Paths& paths) {
  const auto& asked = record.host_config.log_config;
  logs::LogSubject subject{record.id,         record.name,           record.image_id,
                           record.image_name, &record.config.labels, &record.config.env};
  auto config = TRY(logs::make_config(asked.type, asked.config, subject));
  config.path = config.json()  ? paths.json_log(record.id)
                : config.cache ? paths.cached_log(record.id)
                               : paths.local_log(record.id);
  return config;
}

// Here and not in the monitor: a static program cannot load what the resolver needs.
static Result<std::string> resolve_syslog_address(const std::string& address) {
  if (!address.starts_with("udp://") && !address.starts_with("tcp://")) return address;
  size_t colon = address.rfind(':');
  std::string host = address.substr(6, colon - 6), port = address.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = address.starts_with("udp") ? SOCK_DGRAM : SOCK_STREAM;
  int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0)
    return fail(ErrorKind::kInternal, "looking up syslog host '%s': %s", host.c_str(), gai_strerror(error));
  char number[64];
  error = getnameinfo(found->ai_addr, found->ai_addrlen, number, sizeof number, nullptr, 0, NI_NUMERICHOST);
  bool six = found->ai_family == AF_INET6;
  freeaddrinfo(found);
  if (error != 0)
    return fail(ErrorKind::kInternal, "looking up syslog host '%s': %s", host.c_str(), gai_strerror(error));
  return address.substr(0, 6) + (six ? "[" + std::string(number) + "]" : number) + ":" + port;
}

Result<logs::LogConfig> resolved_log_config_of(const ContainerRecord& record, const Paths& paths) {
  auto config = TRY(log_config_of(record, paths));
  if (config.driver == "syslog")
    config.address = TRY_CTX(resolve_syslog_address(config.address), "failed to initialize logging driver");
  return config;
}

}  // namespace caisson::engine
