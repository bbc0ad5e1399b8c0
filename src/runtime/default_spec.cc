// SPDX-License-Identifier: Apache-2.0
#include "runtime/default_spec.h"

#include <algorithm>
#include <cctype>

#include "base/text.h"

namespace caisson::runtime {

std::vector<spec::OciMount> default_mounts(const DefaultMountOptions& options) {
  using List = std::vector<std::string>;
  const char* mode = options.privileged ? "rw" : "ro";
  std::vector<spec::OciMount> out;
  auto add = [&out](const char* destination, const char* type, const char* source, List list) {
    out.push_back({destination, type, source, std::move(list), {}, {}});
  };
  add("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"});
  add("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"});
  add("/dev/pts", "devpts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"});
  if (options.sysfs_bind)
    add("/sys", "bind", "/sys", {"nosuid", "noexec", "nodev", "rbind", mode});
  else
    add("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", mode});
  add("/sys/fs/cgroup", "cgroup", "cgroup", {mode, "nosuid", "noexec", "nodev"});
  if (options.mqueue) add("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"});
  if (options.shm_size > 0)
    add("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", format("size=%ld", options.shm_size)});
  return out;
}

std::vector<std::string> default_masked_paths() {
  return {"/proc/asound",      "/proc/acpi",          "/proc/interrupts", "/proc/kcore",
          "/proc/keys",        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
          "/proc/sched_debug", "/proc/scsi",          "/sys/firmware",    "/sys/devices/virtual/powercap"};
}

std::vector<std::string> default_readonly_paths() {
  return {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
}

std::vector<spec::OciNamespace> default_namespaces() {
  return {{"mount", ""}, {"network", ""}, {"uts", ""}, {"pid", ""}, {"ipc", ""}, {"cgroup", ""}};
}

std::vector<spec::OciDeviceRule> default_device_rules() {
  auto rule = [](int64_t major, int64_t minor) { return spec::OciDeviceRule{true, "c", major, minor, "rwm"}; };
  std::vector<spec::OciDeviceRule> out = {{false, "", {}, {}, "rwm"}};
  out.push_back({true, "c", {}, {}, "m"});
  out.push_back({true, "b", {}, {}, "m"});
  for (int64_t minor : {3, 5, 7, 8, 9}) out.push_back(rule(1, minor));  // null zero full random urandom
  for (int64_t minor : {0, 1, 2}) out.push_back(rule(5, minor));        // tty console ptmx
  out.push_back({true, "c", 136, {}, "rwm"});                           // pts
  return out;
}

std::vector<spec::OciDeviceRule> privileged_device_rules() { return {{true, "a", {}, {}, "rwm"}}; }

const std::vector<std::string>& all_capability_names() {
  static const std::vector<std::string> kNames = {"CAP_CHOWN",
                                                  "CAP_DAC_OVERRIDE",
                                                  "CAP_DAC_READ_SEARCH",
                                                  "CAP_FOWNER",
                                                  "CAP_FSETID",
                                                  "CAP_KILL",
                                                  "CAP_SETGID",
                                                  "CAP_SETUID",
                                                  "CAP_SETPCAP",
                                                  "CAP_LINUX_IMMUTABLE",
                                                  "CAP_NET_BIND_SERVICE",
                                                  "CAP_NET_BROADCAST",
                                                  "CAP_NET_ADMIN",
                                                  "CAP_NET_RAW",
                                                  "CAP_IPC_LOCK",
                                                  "CAP_IPC_OWNER",
                                                  "CAP_SYS_MODULE",
                                                  "CAP_SYS_RAWIO",
                                                  "CAP_SYS_CHROOT",
                                                  "CAP_SYS_PTRACE",
                                                  "CAP_SYS_PACCT",
                                                  "CAP_SYS_ADMIN",
                                                  "CAP_SYS_BOOT",
                                                  "CAP_SYS_NICE",
                                                  "CAP_SYS_RESOURCE",
                                                  "CAP_SYS_TIME",
                                                  "CAP_SYS_TTY_CONFIG",
                                                  "CAP_MKNOD",
                                                  "CAP_LEASE",
                                                  "CAP_AUDIT_WRITE",
                                                  "CAP_AUDIT_CONTROL",
                                                  "CAP_SETFCAP",
                                                  "CAP_MAC_OVERRIDE",
                                                  "CAP_MAC_ADMIN",
                                                  "CAP_SYSLOG",
                                                  "CAP_WAKE_ALARM",
                                                  "CAP_BLOCK_SUSPEND",
                                                  "CAP_AUDIT_READ",
                                                  "CAP_PERFMON",
                                                  "CAP_BPF",
                                                  "CAP_CHECKPOINT_RESTORE"};
  return kNames;
}

std::vector<std::string> default_capabilities() {
  return {"CAP_CHOWN",      "CAP_DAC_OVERRIDE", "CAP_FOWNER",      "CAP_FSETID",           "CAP_KILL",
          "CAP_SETGID",     "CAP_SETUID",       "CAP_SETPCAP",     "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",
          "CAP_SYS_CHROOT", "CAP_MKNOD",        "CAP_AUDIT_WRITE", "CAP_SETFCAP"};
}

namespace {

std::string normalized(std::string_view name) {
  std::string out(name);
  for (auto& c : out) c = static_cast<char>(toupper(static_cast<unsigned char>(c)));
  return out.starts_with("CAP_") || out == "ALL" ? out : "CAP_" + out;
}

int find_number(const std::string& name) {
  const auto& names = all_capability_names();
  auto at = std::find(names.begin(), names.end(), name);
  return at == names.end() ? -1 : static_cast<int>(at - names.begin());
}

struct Wanted {
  bool all = false;
  uint64_t set = 0;
};

Result<Wanted> collect(const std::vector<std::string>& names, const char* field) {
  Wanted out;
  for (const auto& given : names) {
    std::string name = normalized(given);
    if (name == "ALL") {
      out.all = true;
      continue;
    }
    int number = find_number(name);
    if (number < 0) return fail(ErrorKind::kInvalid, "invalid %s: unknown capability: \"%s\"", field, name.c_str());
    out.set |= uint64_t{1} << number;
  }
  return out;
}

}  // namespace

Result<int> capability_number(std::string_view name) {
  int number = find_number(normalized(name));
  if (number < 0) return fail(ErrorKind::kInvalid, "unknown capability: \"%s\"", std::string(name).c_str());
  return number;
}

Result<std::vector<std::string>> resolve_capabilities(const std::vector<std::string>& add,
                                                      const std::vector<std::string>& drop, bool privileged,
                                                      int last_cap) {
  auto added = TRY(collect(add, "CapAdd"));
  auto dropped = TRY(collect(drop, "CapDrop"));
  const auto& names = all_capability_names();
  uint64_t known = last_cap >= 63 ? ~uint64_t{0} : (uint64_t{2} << last_cap) - 1;
  known &= (uint64_t{1} << names.size()) - 1;
  uint64_t base = 0;
  for (const auto& name : default_capabilities()) base |= uint64_t{1} << find_number(name);
  uint64_t set;
  if (privileged)
    set = known;
  else if (added.all)
    set = known & ~dropped.set;  // ALL minus the drops; a drop of ALL is then overruled
  else if (dropped.all)
    set = added.set;
  else
    set = (base & ~dropped.set) | added.set;
  std::vector<std::string> out;
  for (size_t i = 0; i < names.size(); ++i)
    if ((set >> i) & 1) out.push_back(names[i]);
  return out;
}

spec::OciCapabilities capability_sets(const std::vector<std::string>& names, bool root_user) {
  spec::OciCapabilities out;
  out.bounding = names;
  // Another user would lose them on exec anyway.
  if (root_user) out.effective = out.permitted = names;
  return out;
}

spec::RuntimeSpec default_runtime_spec() {
  spec::RuntimeSpec out;
  out.oci_version = "1.0.2";  // older runtimes refuse a config.json of 1.1 and later
  auto& process = out.process.emplace();
  process.cwd = "/";
  process.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  process.capabilities = capability_sets(default_capabilities(), true);
  process.oom_score_adj = 0;
  out.root.emplace();
  out.mounts = default_mounts({});
  auto& linux_part = out.linux_part.emplace();
  linux_part.namespaces = default_namespaces();
  linux_part.masked_paths = default_masked_paths();
  linux_part.readonly_paths = default_readonly_paths();
  linux_part.resources.emplace().devices = default_device_rules();
  return out;
}

}  // namespace caisson::runtime
