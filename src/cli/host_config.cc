// SPDX-License-Identifier: Apache-2.0
#include "cli/host_config.h"

#include <algorithm>

#include "base/text.h"
#include "cli/container_checks.h"
#include "cli/mount_spec.h"
#include "cli/secret_commands.h"
#include "cli/units.h"
#include "sys/files.h"

namespace caisson::cli {

namespace {

std::unexpected<Error> invalid(const std::string& text) { return fail(ErrorKind::kInvalid, "%s", text.c_str()); }

struct Mapping {
  const char* flag;
  const char* member;
};

Result<> set_mounts(ContainerRequest& out, const ParsedFlags& flags, const std::string& working_directory) {
  JsonValue binds = JsonValue::array(), volumes = JsonValue::object(), mounts = JsonValue::array(),
            tmpfs = JsonValue::object();
  for (const std::string& text : flags.list("volume")) {
    VolumeSpec spec = TRY(parse_volume(text, working_directory));
    if (spec.anonymous.empty())
      binds.push(spec.bind);
    else
      volumes.set(spec.anonymous, JsonValue::object());
  }
  for (const std::string& text : flags.list("mount")) mounts.push(TRY(parse_mount(text)));
  for (const std::string& text : flags.list("tmpfs")) {
    auto pair = split_once(text, ':');
    tmpfs.set(pair ? pair->first : text, pair ? pair->second : "");
  }
  if (!binds.items().empty()) out.host_config.set("Binds", binds);
  if (!volumes.members().empty()) out.config.set("Volumes", volumes);
  if (!mounts.items().empty()) out.host_config.set("Mounts", mounts);
  if (!tmpfs.members().empty()) out.host_config.set("Tmpfs", tmpfs);
  return {};
}

// "net_admin" -> "CAP_NET_ADMIN", sorted, each once.
std::vector<std::string> capabilities(const std::vector<std::string>& names) {
  std::vector<std::string> out;
  for (const std::string& name : names) {
    std::string upper;
    for (char c : trim(name)) upper += c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    if (upper != "ALL" && !upper.starts_with("CAP_")) upper = "CAP_" + upper;
    out.push_back(std::move(upper));
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

void set_capabilities(JsonValue& host, const ParsedFlags& flags) {
  std::vector<std::string> add = capabilities(flags.list("cap-add")), drop = capabilities(flags.list("cap-drop"));
  std::erase_if(drop, [&](const std::string& name) { return std::binary_search(add.begin(), add.end(), name); });
  if (!add.empty()) host.set("CapAdd", add);
  if (!drop.empty()) host.set("CapDrop", drop);
}

Result<> set_modes(JsonValue& host, const ParsedFlags& flags) {
  auto one_of = [](std::string_view value, std::initializer_list<std::string_view> allowed) {
    return std::find(allowed.begin(), allowed.end(), value) != allowed.end();
  };
  std::string_view pid = flags.text("pid"), uts = flags.text("uts"), userns = flags.text("userns"),
                   cgroupns = flags.text("cgroupns");
  if (!one_of(pid, {"", "host"}) && !(pid.starts_with("container:") && pid.size() > 10))
    return invalid("--pid: invalid PID mode");
  if (!one_of(uts, {"", "host"})) return invalid("--uts: invalid UTS mode");
  if (!one_of(userns, {"", "host"})) return invalid("--userns: invalid USER mode");
  if (!one_of(cgroupns, {"", "host", "private"})) return invalid("--cgroupns: invalid CGROUP mode");
  static constexpr Mapping kTexts[] = {{"pid", "PidMode"},
                                       {"uts", "UTSMode"},
                                       {"userns", "UsernsMode"},
                                       {"cgroupns", "CgroupnsMode"},
                                       {"ipc", "IpcMode"},
                                       {"runtime", "Runtime"},
                                       {"isolation", "Isolation"},
                                       {"cgroup-parent", "CgroupParent"},
                                       {"volume-driver", "VolumeDriver"},
                                       {"cpuset-cpus", "CpusetCpus"},
                                       {"cpuset-mems", "CpusetMems"},
                                       {"cidfile", "ContainerIDFile"}};
  for (const Mapping& item : kTexts)
    if (!flags.text(item.flag).empty()) host.set(item.member, flags.text(item.flag));
  static constexpr Mapping kSwitches[] = {{"privileged", "Privileged"},
                                          {"read-only", "ReadonlyRootfs"},
                                          {"rm", "AutoRemove"},
                                          {"publish-all", "PublishAllPorts"},
                                          {"oom-kill-disable", "OomKillDisable"}};
  for (const Mapping& item : kSwitches)
    if (flags.on(item.flag)) host.set(item.member, true);
  if (flags.changed("init")) host.set("Init", flags.on("init"));
  static constexpr Mapping kLists[] = {{"dns", "Dns"},
                                       {"dns-option", "DnsOptions"},
                                       {"dns-search", "DnsSearch"},
                                       {"group-add", "GroupAdd"},
                                       {"volumes-from", "VolumesFrom"},
                                       {"device-cgroup-rule", "DeviceCgroupRules"}};
  for (const Mapping& item : kLists)
    if (std::vector<std::string> values = flags.list(item.flag); !values.empty()) host.set(item.member, values);
  std::vector<std::string> hosts = flags.list("add-host");
  for (std::string& entry : hosts) {
    // "name=1.2.3.4" is the newer form; the API has the colon.
    size_t equals = entry.find('=');
    if (equals != entry.npos) entry[equals] = ':';
    size_t colon = entry.find(':');
    if (colon != entry.npos && entry.size() > colon + 2 && entry[colon + 1] == '[' && entry.ends_with(']'))
      entry = entry.substr(0, colon + 1) + entry.substr(colon + 2, entry.size() - colon - 3);
  }
  if (!hosts.empty()) host.set("ExtraHosts", hosts);
  return {};
}

Result<> set_limits(JsonValue& host, const ParsedFlags& flags) {
  TRY(set_resource_limits(host, flags));
  int64_t swappiness = flags.integer("memory-swappiness");
  if (swappiness != -1 && (swappiness < 0 || swappiness > 100))
    return invalid(
        format("invalid value: %lld. Valid memory swappiness range is 0-100", static_cast<long long>(swappiness)));
  if (swappiness != -1) host.set("MemorySwappiness", swappiness);
  static constexpr Mapping kRates[] = {{"device-read-bps", "BlkioDeviceReadBps"},
                                       {"device-write-bps", "BlkioDeviceWriteBps"},
                                       {"device-read-iops", "BlkioDeviceReadIOps"},
                                       {"device-write-iops", "BlkioDeviceWriteIOps"}};
  for (const Mapping& item : kRates) {
    JsonValue list = JsonValue::array();
    for (const std::string& text : flags.list(item.flag))
      list.push(TRY(parse_device_rate(text, std::string_view(item.flag).ends_with("bps"))));
    if (!list.items().empty()) host.set(item.member, list);
  }
  JsonValue weights = JsonValue::array(), ulimits = JsonValue::array();
  for (const std::string& text : flags.list("blkio-weight-device")) weights.push(TRY(parse_weight_device(text)));
  if (!weights.items().empty()) host.set("BlkioWeightDevice", weights);
  for (const std::string& text : flags.list("ulimit")) ulimits.push(TRY(parse_ulimit(text)));
  if (!ulimits.items().empty()) host.set("Ulimits", ulimits);
  return {};
}

Result<JsonValue> parse_device(const std::string& text) {
  std::vector<std::string> parts = split(text, ':');
  auto is_mode = [](const std::string& mode) {
    return !mode.empty() && mode.size() <= 3 && mode.find_first_not_of("rwm") == mode.npos;
  };
  if (parts.size() > 3) return invalid("bad format for path: " + text);
  std::string inside = parts[0], mode = "rwm";
  if (parts.size() == 3) mode = parts[2];
  if (parts.size() >= 2) {
    if (parts.size() == 2 && is_mode(parts[1]))
      mode = parts[1];
    else
      inside = parts[1];
  }
  if (!is_mode(mode)) return invalid("bad mode specified: " + mode);
  JsonValue out = JsonValue::object();
  out.set("PathOnHost", parts[0]);
  out.set("PathInContainer", inside);
  out.set("CgroupPermissions", mode);
  return out;
}

Result<> set_devices(JsonValue& host, const ParsedFlags& flags) {
  JsonValue devices = JsonValue::array(), requests = JsonValue::array();
  std::vector<std::string> named;  // CDI: vendor/class=name
  for (const std::string& text : flags.list("device")) {
    if (!text.starts_with('/') && text.find('=') != text.npos && text.find('/') != text.npos)
      named.push_back(text);
    else
      devices.push(TRY(parse_device(text)));
  }
  for (const std::string& text : flags.list("gpus")) requests.push(TRY(parse_gpus(text)));
  if (!named.empty()) {
    JsonValue request = JsonValue::object();
    request.set("Driver", "cdi");
    request.set("DeviceIDs", named);
    requests.push(request);
  }
  if (!devices.items().empty()) host.set("Devices", devices);
  if (!requests.items().empty()) host.set("DeviceRequests", requests);
  return {};
}

Result<> set_security(JsonValue& host, const ParsedFlags& flags) {
  JsonValue options = JsonValue::array();
  for (const std::string& text : flags.list("security-opt")) {
    if (text == "no-new-privileges") {
      options.push(text);
      continue;
    }
    auto pair = split_once(text, '=');
    if (!pair) pair = split_once(text, ':');
    if (!pair || pair->second.empty()) return invalid("Invalid --security-opt: " + go_quote(text));
    const auto& [key, value] = *pair;
    if (key == "systempaths" && value == "unconfined") {
      host.set("MaskedPaths", JsonValue::array());
      host.set("ReadonlyPaths", JsonValue::array());
      continue;
    }
    if (key == "seccomp" && value != "builtin" && value != "unconfined") {
      auto profile = sys::read_file(value, 4 << 20);
      if (!profile)
        return invalid("opening seccomp profile (" + value + ") failed: open " + value + ": " +
                       to_lower(errno_text(profile.error().err)));
      auto parsed = JsonValue::parse(*profile);
      if (!parsed)
        return invalid("compacting json for seccomp profile (" + value + ") failed: " + parsed.error().message);
      options.push("seccomp=" + parsed->dump());
      continue;
    }
    options.push(text);
  }
  if (!options.items().empty()) host.set("SecurityOpt", options);
  return {};
}

Result<> set_maps(JsonValue& host, const ParsedFlags& flags) {
  auto map_of = [&](const char* flag) {
    JsonValue map = JsonValue::object();
    for (const std::string& text : flags.list(flag)) {
      auto pair = split_once(text, '=');
      map.set(pair ? pair->first : text, pair ? pair->second : "");
    }
    return map;
  };
  for (const std::string& text : flags.list("storage-opt"))
    if (text.find('=') == text.npos) return invalid("invalid storage option");
  static constexpr Mapping kMaps[] = {{"sysctl", "Sysctls"},
                                      {"annotation", "Annotations"},
                                      {"storage-opt", "StorageOpt"},
                                      {"cgroup-conf", "CgroupConf"},
                                      {"time-offset", "TimeOffsets"}};
  for (const Mapping& item : kMaps)
    if (JsonValue map = map_of(item.flag); !map.members().empty()) host.set(item.member, map);
  std::string driver(flags.text("log-driver"));
  JsonValue log_options = map_of("log-opt");
  if (driver == "none" && !log_options.members().empty()) return invalid("invalid logging opts for driver none");
  if (!driver.empty() || !log_options.members().empty()) {
    JsonValue log = JsonValue::object();
    log.set("Type", driver);
    log.set("Config", log_options);
    host.set("LogConfig", log);
  }
  return {};
}

Result<> set_restart(JsonValue& host, const ParsedFlags& flags) {
  std::string text(flags.text("restart"));
  auto pair = split_once(text, ':');
  std::string name = pair ? pair->first : text;
  int64_t count = 0;
  if (pair) {
    if (name.empty()) return invalid("invalid restart policy format: no policy provided before colon");
    auto number = parse_int(pair->second);
    if (!number) return invalid("invalid restart policy format: maximum retry count must be an integer");
    count = *number;
  }
  if (flags.on("rm") && name != "no" && !name.empty())
    return invalid("conflicting options: cannot specify both --restart and --rm");
  if (name == "no" && count == 0) return {};
  JsonValue policy = JsonValue::object();
  policy.set("Name", name);
  policy.set("MaximumRetryCount", count);
  host.set("RestartPolicy", policy);
  return {};
}

}  // namespace

Result<> set_resource_limits(JsonValue& host, const ParsedFlags& flags) {
  static constexpr Mapping kSizes[] = {
      {"memory", "Memory"}, {"memory-reservation", "MemoryReservation"}, {"shm-size", "ShmSize"}};
  for (const Mapping& item : kSizes)
    if (!flags.text(item.flag).empty()) host.set(item.member, TRY(parse_bytes(flags.text(item.flag))));
  if (std::string_view swap = flags.text("memory-swap"); !swap.empty())
    host.set("MemorySwap", swap == "-1" ? -1 : TRY(parse_bytes(swap)));
  static constexpr Mapping kNumbers[] = {{"cpu-shares", "CpuShares"},
                                         {"cpu-period", "CpuPeriod"},
                                         {"cpu-quota", "CpuQuota"},
                                         {"cpu-rt-period", "CpuRealtimePeriod"},
                                         {"cpu-rt-runtime", "CpuRealtimeRuntime"},
                                         {"oom-score-adj", "OomScoreAdj"},
                                         {"blkio-weight", "BlkioWeight"}};
  for (const Mapping& item : kNumbers)
    if (int64_t value = flags.integer(item.flag)) host.set(item.member, value);
  static constexpr Mapping kTexts[] = {{"oom-policy", "OomPolicy"}, {"umask", "Umask"}, {"personality", "Personality"}};
  for (const Mapping& item : kTexts)
    if (!flags.text(item.flag).empty()) host.set(item.member, flags.text(item.flag));
  if (flags.changed("pids-limit")) host.set("PidsLimit", flags.integer("pids-limit"));
  if (!flags.text("cpus").empty()) host.set("NanoCpus", TRY(parse_nano_cpus(flags.text("cpus"))));
  return {};
}

static Result<> set_secrets(JsonValue& host, const ParsedFlags& flags) {
  auto given = flags.list("secret");
  if (given.empty()) return {};
  JsonValue list = JsonValue::array();
  for (const std::string& text : given) list.push(TRY(parse_secret_use(text)));
  host.set("Secrets", list);
  return {};
}

Result<> set_host_config(ContainerRequest& out, const ParsedFlags& flags, const std::string& working_directory) {
  JsonValue& host = out.host_config;
  TRY(set_limits(host, flags));
  TRY(set_mounts(out, flags, working_directory));
  TRY(set_modes(host, flags));
  set_capabilities(host, flags);
  TRY(set_devices(host, flags));
  TRY(set_security(host, flags));
  TRY(set_maps(host, flags));
  TRY(set_secrets(host, flags));
  return set_restart(host, flags);
}

}  // namespace caisson::cli
