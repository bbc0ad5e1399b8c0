// SPDX-License-Identifier: Apache-2.0
// The OCI runtime specification's config.json and state as structs with field tables. Data only;
// meaning is given by runtime/plan_builder.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "wire/json.h"

namespace caisson::spec {

struct OciUser {
  uint32_t uid = 0, gid = 0;
  std::optional<uint32_t> umask;
  std::vector<uint32_t> additional_gids;
  std::string username;
};

struct OciCapabilities {
  std::vector<std::string> bounding, effective, inheritable, permitted, ambient;
};

struct OciRlimit {
  std::string type;
  uint64_t hard = 0, soft = 0;
};

struct OciConsoleSize {
  uint64_t height = 0, width = 0;
};

struct OciIoPriority {
  std::string io_class;
  int64_t priority = 0;
};

struct OciScheduler {
  std::string policy;
  int32_t nice = 0, priority = 0;
  std::vector<std::string> flags;
  uint64_t runtime = 0, deadline = 0, period = 0;
};

struct OciProcess {
  bool terminal = false;
  std::optional<OciConsoleSize> console_size;
  OciUser user;
  std::vector<std::string> args;
  std::string command_line;
  std::vector<std::string> env;
  std::string cwd;
  std::optional<OciCapabilities> capabilities;
  std::vector<OciRlimit> rlimits;
  bool no_new_privileges = false;
  std::string apparmor_profile;
  std::optional<int64_t> oom_score_adj;
  std::optional<OciScheduler> scheduler;
  std::string selinux_label;
  std::optional<OciIoPriority> io_priority;
};

struct OciRoot {
  std::string path;
  bool readonly = false;
};

struct OciIdMapping {
  uint32_t container_id = 0, host_id = 0, size = 0;
};

struct OciMount {
  std::string destination, type, source;
  std::vector<std::string> options;
  std::vector<OciIdMapping> uid_mappings, gid_mappings;
};

struct OciHook {
  std::string path;
  std::vector<std::string> args, env;
  std::optional<int64_t> timeout;
};

struct OciHooks {
  std::vector<OciHook> prestart, create_runtime, create_container, start_container, poststart, poststop;
};

struct OciNamespace {
  std::string type, path;
};

struct OciDevice {
  std::string path, type;
  int64_t major = 0, minor = 0;
  std::optional<uint32_t> file_mode;
  std::optional<uint32_t> uid, gid;
};

struct OciDeviceRule {
  bool allow = false;
  std::string type;
  std::optional<int64_t> major, minor;
  std::string access;
};

struct OciMemory {
  std::optional<int64_t> limit, reservation, swap, kernel, kernel_tcp;
  std::optional<uint64_t> swappiness;
  bool disable_oom_killer = false;
  std::optional<bool> use_hierarchy, check_before_update;
};

struct OciCpu {
  std::optional<uint64_t> shares;
  std::optional<int64_t> quota;
  std::optional<uint64_t> burst, period;
  std::optional<int64_t> realtime_runtime;
  std::optional<uint64_t> realtime_period;
  std::string cpus, mems;
  std::optional<int64_t> idle;
};

struct OciPids {
  int64_t limit = 0;
};

struct OciThrottleDevice {
  int64_t major = 0, minor = 0;
  uint64_t rate = 0;
};

struct OciWeightDevice {
  int64_t major = 0, minor = 0;
  std::optional<uint16_t> weight, leaf_weight;
};

struct OciBlockIo {
  std::optional<uint16_t> weight, leaf_weight;
  std::vector<OciWeightDevice> weight_device;
  std::vector<OciThrottleDevice> throttle_read_bps_device, throttle_write_bps_device;
  std::vector<OciThrottleDevice> throttle_read_iops_device, throttle_write_iops_device;
};

struct OciHugepageLimit {
  std::string page_size;
  uint64_t limit = 0;
};

struct OciResources {
  std::vector<OciDeviceRule> devices;
  std::optional<OciMemory> memory;
  std::optional<OciCpu> cpu;
  std::optional<OciPids> pids;
  std::optional<OciBlockIo> block_io;
  std::vector<OciHugepageLimit> hugepage_limits;
  std::map<std::string, std::string> unified;
};

struct OciSeccompArg {
  uint32_t index = 0;
  uint64_t value = 0, value_two = 0;
  std::string op;
};

struct OciSyscall {
  std::vector<std::string> names;
  std::string action;
  std::optional<uint32_t> errno_ret;
  std::vector<OciSeccompArg> args;
};

struct OciSeccomp {
  std::string default_action;
  std::optional<uint32_t> default_errno_ret;
  std::vector<std::string> architectures, flags;
  std::string listener_path, listener_metadata;
  std::vector<OciSyscall> syscalls;
};

struct OciTimeOffset {
  int64_t secs = 0;
  uint32_t nanosecs = 0;
};

struct OciPersonality {
  std::string domain;
  std::vector<std::string> flags;
};

struct OciLinux {
  std::vector<OciIdMapping> uid_mappings, gid_mappings;
  std::map<std::string, std::string> sysctl;
  std::optional<OciResources> resources;
  std::string cgroups_path;
  std::vector<OciNamespace> namespaces;
  std::vector<OciDevice> devices;
  std::optional<OciSeccomp> seccomp;
  std::string rootfs_propagation;
  std::vector<std::string> masked_paths, readonly_paths;
  std::string mount_label;
  std::optional<OciPersonality> personality;
  std::map<std::string, OciTimeOffset> time_offsets;
};

struct RuntimeSpec {
  std::string oci_version = "1.2.0";
  std::optional<OciProcess> process;
  std::optional<OciRoot> root;
  std::string hostname, domainname;
  std::vector<OciMount> mounts;
  std::optional<OciHooks> hooks;
  std::map<std::string, std::string> annotations;
  std::optional<OciLinux> linux_part;
};

struct OciState {
  std::string oci_version = "1.2.0";
  std::string id, status;
  std::optional<int64_t> pid;
  std::string bundle;
  std::map<std::string, std::string> annotations;
};

// config.json at most 16 MiB; kInvalid names the field.
Result<RuntimeSpec> parse_runtime_spec(std::string_view text);
Result<OciProcess> parse_oci_process(std::string_view text);
std::string to_json(const RuntimeSpec& spec);
std::string to_json(const OciState& state);

}  // namespace caisson::spec
