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
CAISSON_JSON(OciUser, CAISSON_FIELD("uid", uid), CAISSON_FIELD("gid", gid), CAISSON_FIELD_OMIT("umask", umask),
             CAISSON_FIELD_OMIT("additionalGids", additional_gids), CAISSON_FIELD_OMIT("username", username))

struct OciCapabilities {
  std::vector<std::string> bounding, effective, inheritable, permitted, ambient;
};
CAISSON_JSON(OciCapabilities, CAISSON_FIELD_OMIT("bounding", bounding), CAISSON_FIELD_OMIT("effective", effective),
             CAISSON_FIELD_OMIT("inheritable", inheritable), CAISSON_FIELD_OMIT("permitted", permitted),
             CAISSON_FIELD_OMIT("ambient", ambient))

struct OciRlimit {
  std::string type;
  uint64_t hard = 0, soft = 0;
};
CAISSON_JSON(OciRlimit, CAISSON_FIELD("type", type), CAISSON_FIELD("hard", hard), CAISSON_FIELD("soft", soft))

struct OciConsoleSize {
  uint64_t height = 0, width = 0;
};
CAISSON_JSON(OciConsoleSize, CAISSON_FIELD("height", height), CAISSON_FIELD("width", width))

struct OciIoPriority {
  std::string io_class;
  int64_t priority = 0;
};
CAISSON_JSON(OciIoPriority, CAISSON_FIELD("class", io_class), CAISSON_FIELD("priority", priority))

struct OciScheduler {
  std::string policy;
  int32_t nice = 0, priority = 0;
  std::vector<std::string> flags;
  uint64_t runtime = 0, deadline = 0, period = 0;
};
CAISSON_JSON(OciScheduler, CAISSON_FIELD("policy", policy), CAISSON_FIELD_OMIT("nice", nice),
             CAISSON_FIELD_OMIT("priority", priority), CAISSON_FIELD_OMIT("flags", flags),
             CAISSON_FIELD_OMIT("runtime", runtime), CAISSON_FIELD_OMIT("deadline", deadline),
             CAISSON_FIELD_OMIT("period", period))

struct OciCpuAffinity {
  std::string initial, final_list;
};
CAISSON_JSON(OciCpuAffinity, CAISSON_FIELD_OMIT("initial", initial), CAISSON_FIELD_OMIT("final", final_list))

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
  std::optional<OciCpuAffinity> exec_cpu_affinity;
};
CAISSON_JSON(OciProcess, CAISSON_FIELD_OMIT("terminal", terminal), CAISSON_FIELD_OMIT("consoleSize", console_size),
             CAISSON_FIELD("user", user), CAISSON_FIELD_OMIT("args", args),
             CAISSON_FIELD_OMIT("commandLine", command_line), CAISSON_FIELD_OMIT("env", env), CAISSON_FIELD("cwd", cwd),
             CAISSON_FIELD_OMIT("capabilities", capabilities), CAISSON_FIELD_OMIT("rlimits", rlimits),
             CAISSON_FIELD_OMIT("noNewPrivileges", no_new_privileges),
             CAISSON_FIELD_OMIT("apparmorProfile", apparmor_profile), CAISSON_FIELD_OMIT("oomScoreAdj", oom_score_adj),
             CAISSON_FIELD_OMIT("scheduler", scheduler), CAISSON_FIELD_OMIT("selinuxLabel", selinux_label),
             CAISSON_FIELD_OMIT("ioPriority", io_priority), CAISSON_FIELD_OMIT("execCPUAffinity", exec_cpu_affinity))

struct OciRoot {
  std::string path;
  bool readonly = false;
};
CAISSON_JSON(OciRoot, CAISSON_FIELD("path", path), CAISSON_FIELD_OMIT("readonly", readonly))

struct OciIdMapping {
  uint32_t container_id = 0, host_id = 0, size = 0;
};
CAISSON_JSON(OciIdMapping, CAISSON_FIELD("containerID", container_id), CAISSON_FIELD("hostID", host_id),
             CAISSON_FIELD("size", size))

struct OciMount {
  std::string destination, type, source;
  std::vector<std::string> options;
  std::vector<OciIdMapping> uid_mappings, gid_mappings;
};
CAISSON_JSON(OciMount, CAISSON_FIELD("destination", destination), CAISSON_FIELD_OMIT("type", type),
             CAISSON_FIELD_OMIT("source", source), CAISSON_FIELD_OMIT("options", options),
             CAISSON_FIELD_OMIT("uidMappings", uid_mappings), CAISSON_FIELD_OMIT("gidMappings", gid_mappings))

struct OciHook {
  std::string path;
  std::vector<std::string> args, env;
  std::optional<int64_t> timeout;
};
CAISSON_JSON(OciHook, CAISSON_FIELD("path", path), CAISSON_FIELD_OMIT("args", args), CAISSON_FIELD_OMIT("env", env),
             CAISSON_FIELD_OMIT("timeout", timeout))

struct OciHooks {
  std::vector<OciHook> prestart, create_runtime, create_container, start_container, poststart, poststop;
};
CAISSON_JSON(OciHooks, CAISSON_FIELD_OMIT("prestart", prestart), CAISSON_FIELD_OMIT("createRuntime", create_runtime),
             CAISSON_FIELD_OMIT("createContainer", create_container),
             CAISSON_FIELD_OMIT("startContainer", start_container), CAISSON_FIELD_OMIT("poststart", poststart),
             CAISSON_FIELD_OMIT("poststop", poststop))

struct OciNamespace {
  std::string type, path;
};
CAISSON_JSON(OciNamespace, CAISSON_FIELD("type", type), CAISSON_FIELD_OMIT("path", path))

struct OciDevice {
  std::string path, type;
  int64_t major = 0, minor = 0;
  std::optional<uint32_t> file_mode;
  std::optional<uint32_t> uid, gid;
};
CAISSON_JSON(OciDevice, CAISSON_FIELD("path", path), CAISSON_FIELD("type", type), CAISSON_FIELD("major", major),
             CAISSON_FIELD("minor", minor), CAISSON_FIELD_OMIT("fileMode", file_mode), CAISSON_FIELD_OMIT("uid", uid),
             CAISSON_FIELD_OMIT("gid", gid))

struct OciDeviceRule {
  bool allow = false;
  std::string type;
  std::optional<int64_t> major, minor;
  std::string access;
};
CAISSON_JSON(OciDeviceRule, CAISSON_FIELD("allow", allow), CAISSON_FIELD_OMIT("type", type),
             CAISSON_FIELD_OMIT("major", major), CAISSON_FIELD_OMIT("minor", minor),
             CAISSON_FIELD_OMIT("access", access))

struct OciMemory {
  std::optional<int64_t> limit, reservation, swap, kernel, kernel_tcp;
  std::optional<uint64_t> swappiness;
  bool disable_oom_killer = false;
  std::optional<bool> use_hierarchy, check_before_update;
};
CAISSON_JSON(OciMemory, CAISSON_FIELD_OMIT("limit", limit), CAISSON_FIELD_OMIT("reservation", reservation),
             CAISSON_FIELD_OMIT("swap", swap), CAISSON_FIELD_OMIT("kernel", kernel),
             CAISSON_FIELD_OMIT("kernelTCP", kernel_tcp), CAISSON_FIELD_OMIT("swappiness", swappiness),
             CAISSON_FIELD_OMIT("disableOOMKiller", disable_oom_killer),
             CAISSON_FIELD_OMIT("useHierarchy", use_hierarchy),
             CAISSON_FIELD_OMIT("checkBeforeUpdate", check_before_update))

struct OciCpu {
  std::optional<uint64_t> shares;
  std::optional<int64_t> quota;
  std::optional<uint64_t> burst, period;
  std::optional<int64_t> realtime_runtime;
  std::optional<uint64_t> realtime_period;
  std::string cpus, mems;
  std::optional<int64_t> idle;
};
CAISSON_JSON(OciCpu, CAISSON_FIELD_OMIT("shares", shares), CAISSON_FIELD_OMIT("quota", quota),
             CAISSON_FIELD_OMIT("burst", burst), CAISSON_FIELD_OMIT("period", period),
             CAISSON_FIELD_OMIT("realtimeRuntime", realtime_runtime),
             CAISSON_FIELD_OMIT("realtimePeriod", realtime_period), CAISSON_FIELD_OMIT("cpus", cpus),
             CAISSON_FIELD_OMIT("mems", mems), CAISSON_FIELD_OMIT("idle", idle))

struct OciPids {
  int64_t limit = 0;
};
CAISSON_JSON(OciPids, CAISSON_FIELD("limit", limit))

struct OciThrottleDevice {
  int64_t major = 0, minor = 0;
  uint64_t rate = 0;
};
CAISSON_JSON(OciThrottleDevice, CAISSON_FIELD("major", major), CAISSON_FIELD("minor", minor),
             CAISSON_FIELD("rate", rate))

struct OciWeightDevice {
  int64_t major = 0, minor = 0;
  std::optional<uint16_t> weight, leaf_weight;
};
CAISSON_JSON(OciWeightDevice, CAISSON_FIELD("major", major), CAISSON_FIELD("minor", minor),
             CAISSON_FIELD_OMIT("weight", weight), CAISSON_FIELD_OMIT("leafWeight", leaf_weight))

struct OciBlockIo {
  std::optional<uint16_t> weight, leaf_weight;
  std::vector<OciWeightDevice> weight_device;
  std::vector<OciThrottleDevice> throttle_read_bps_device, throttle_write_bps_device;
  std::vector<OciThrottleDevice> throttle_read_iops_device, throttle_write_iops_device;
};
CAISSON_JSON(OciBlockIo, CAISSON_FIELD_OMIT("weight", weight), CAISSON_FIELD_OMIT("leafWeight", leaf_weight),
             CAISSON_FIELD_OMIT("weightDevice", weight_device),
             CAISSON_FIELD_OMIT("throttleReadBpsDevice", throttle_read_bps_device),
             CAISSON_FIELD_OMIT("throttleWriteBpsDevice", throttle_write_bps_device),
             CAISSON_FIELD_OMIT("throttleReadIOPSDevice", throttle_read_iops_device),
             CAISSON_FIELD_OMIT("throttleWriteIOPSDevice", throttle_write_iops_device))

struct OciHugepageLimit {
  std::string page_size;
  uint64_t limit = 0;
};
CAISSON_JSON(OciHugepageLimit, CAISSON_FIELD("pageSize", page_size), CAISSON_FIELD("limit", limit))

struct OciInterfacePriority {
  std::string name;
  uint32_t priority = 0;
};
CAISSON_JSON(OciInterfacePriority, CAISSON_FIELD("name", name), CAISSON_FIELD("priority", priority))

struct OciNetwork {
  std::optional<uint32_t> class_id;
  std::vector<OciInterfacePriority> priorities;
};
CAISSON_JSON(OciNetwork, CAISSON_FIELD_OMIT("classID", class_id), CAISSON_FIELD_OMIT("priorities", priorities))

struct OciRdma {
  std::optional<uint32_t> hca_handles, hca_objects;
};
CAISSON_JSON(OciRdma, CAISSON_FIELD_OMIT("hcaHandles", hca_handles), CAISSON_FIELD_OMIT("hcaObjects", hca_objects))

struct OciResources {
  std::vector<OciDeviceRule> devices;
  std::optional<OciMemory> memory;
  std::optional<OciCpu> cpu;
  std::optional<OciPids> pids;
  std::optional<OciBlockIo> block_io;
  std::vector<OciHugepageLimit> hugepage_limits;
  std::optional<OciNetwork> network;
  std::map<std::string, OciRdma> rdma;  // by device
  std::map<std::string, std::string> unified;
};
CAISSON_JSON(OciResources, CAISSON_FIELD_OMIT("devices", devices), CAISSON_FIELD_OMIT("memory", memory),
             CAISSON_FIELD_OMIT("cpu", cpu), CAISSON_FIELD_OMIT("pids", pids), CAISSON_FIELD_OMIT("blockIO", block_io),
             CAISSON_FIELD_OMIT("hugepageLimits", hugepage_limits), CAISSON_FIELD_OMIT("network", network),
             CAISSON_FIELD_OMIT("rdma", rdma), CAISSON_FIELD_OMIT("unified", unified))

struct OciSeccompArg {
  uint32_t index = 0;
  uint64_t value = 0, value_two = 0;
  std::string op;
};
CAISSON_JSON(OciSeccompArg, CAISSON_FIELD("index", index), CAISSON_FIELD("value", value),
             CAISSON_FIELD_OMIT("valueTwo", value_two), CAISSON_FIELD("op", op))

struct OciSyscall {
  std::vector<std::string> names;
  std::string action;
  std::optional<uint32_t> errno_ret;
  std::vector<OciSeccompArg> args;
};
CAISSON_JSON(OciSyscall, CAISSON_FIELD("names", names), CAISSON_FIELD("action", action),
             CAISSON_FIELD_OMIT("errnoRet", errno_ret), CAISSON_FIELD_OMIT("args", args))

struct OciSeccomp {
  std::string default_action;
  std::optional<uint32_t> default_errno_ret;
  std::vector<std::string> architectures, flags;
  std::string listener_path, listener_metadata;
  std::vector<OciSyscall> syscalls;
};
CAISSON_JSON(OciSeccomp, CAISSON_FIELD("defaultAction", default_action),
             CAISSON_FIELD_OMIT("defaultErrnoRet", default_errno_ret),
             CAISSON_FIELD_OMIT("architectures", architectures), CAISSON_FIELD_OMIT("flags", flags),
             CAISSON_FIELD_OMIT("listenerPath", listener_path),
             CAISSON_FIELD_OMIT("listenerMetadata", listener_metadata), CAISSON_FIELD_OMIT("syscalls", syscalls))

struct OciTimeOffset {
  int64_t secs = 0;
  uint32_t nanosecs = 0;
};
CAISSON_JSON(OciTimeOffset, CAISSON_FIELD("secs", secs), CAISSON_FIELD_OMIT("nanosecs", nanosecs))

struct OciPersonality {
  std::string domain;
  std::vector<std::string> flags;
};
CAISSON_JSON(OciPersonality, CAISSON_FIELD("domain", domain), CAISSON_FIELD_OMIT("flags", flags))

struct OciNetDevice {
  std::string name;  // in the container; empty: as outside
};
CAISSON_JSON(OciNetDevice, CAISSON_FIELD_OMIT("name", name))

struct OciIntelRdt {
  std::string clos_id, l3_cache_schema, mem_bw_schema;
  std::vector<std::string> schemata;
  bool enable_monitoring = false;
};
CAISSON_JSON(OciIntelRdt, CAISSON_FIELD_OMIT("closID", clos_id), CAISSON_FIELD_OMIT("l3CacheSchema", l3_cache_schema),
             CAISSON_FIELD_OMIT("memBwSchema", mem_bw_schema), CAISSON_FIELD_OMIT("schemata", schemata),
             CAISSON_FIELD_OMIT("enableMonitoring", enable_monitoring))

struct OciMemoryPolicy {
  std::string mode, nodes;
  std::vector<std::string> flags;
};
CAISSON_JSON(OciMemoryPolicy, CAISSON_FIELD("mode", mode), CAISSON_FIELD_OMIT("nodes", nodes),
             CAISSON_FIELD_OMIT("flags", flags))

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
  std::map<std::string, OciNetDevice> net_devices;
  std::optional<OciIntelRdt> intel_rdt;
  std::optional<OciMemoryPolicy> memory_policy;
};
CAISSON_JSON(OciLinux, CAISSON_FIELD_OMIT("uidMappings", uid_mappings), CAISSON_FIELD_OMIT("gidMappings", gid_mappings),
             CAISSON_FIELD_OMIT("sysctl", sysctl), CAISSON_FIELD_OMIT("resources", resources),
             CAISSON_FIELD_OMIT("cgroupsPath", cgroups_path), CAISSON_FIELD_OMIT("namespaces", namespaces),
             CAISSON_FIELD_OMIT("devices", devices), CAISSON_FIELD_OMIT("seccomp", seccomp),
             CAISSON_FIELD_OMIT("rootfsPropagation", rootfs_propagation),
             CAISSON_FIELD_OMIT("maskedPaths", masked_paths), CAISSON_FIELD_OMIT("readonlyPaths", readonly_paths),
             CAISSON_FIELD_OMIT("mountLabel", mount_label), CAISSON_FIELD_OMIT("personality", personality),
             CAISSON_FIELD_OMIT("timeOffsets", time_offsets), CAISSON_FIELD_OMIT("netDevices", net_devices),
             CAISSON_FIELD_OMIT("intelRdt", intel_rdt), CAISSON_FIELD_OMIT("memoryPolicy", memory_policy))

struct RuntimeSpec {
  std::string oci_version;
  std::optional<OciProcess> process;
  std::optional<OciRoot> root;
  std::string hostname, domainname;
  std::vector<OciMount> mounts;
  std::optional<OciHooks> hooks;
  std::map<std::string, std::string> annotations;
  std::optional<OciLinux> linux_part;
};
CAISSON_JSON(RuntimeSpec, CAISSON_FIELD("ociVersion", oci_version), CAISSON_FIELD_OMIT("process", process),
             CAISSON_FIELD_OMIT("root", root), CAISSON_FIELD_OMIT("hostname", hostname),
             CAISSON_FIELD_OMIT("domainname", domainname), CAISSON_FIELD_OMIT("mounts", mounts),
             CAISSON_FIELD_OMIT("hooks", hooks), CAISSON_FIELD_OMIT("annotations", annotations),
             CAISSON_FIELD_OMIT("linux", linux_part))

struct OciState {
  std::string oci_version = "1.3.0";
  std::string id, status;
  std::optional<int64_t> pid;
  std::string bundle;
  std::map<std::string, std::string> annotations;
};
CAISSON_JSON(OciState, CAISSON_FIELD("ociVersion", oci_version), CAISSON_FIELD("id", id),
             CAISSON_FIELD("status", status), CAISSON_FIELD_OMIT("pid", pid), CAISSON_FIELD("bundle", bundle),
             CAISSON_FIELD_OMIT("annotations", annotations))

// What a seccomp agent is sent, together with the descriptors that `fds` names.
struct OciContainerProcessState {
  std::string oci_version = "1.3.0";
  std::vector<std::string> fds;
  int64_t pid = 0;
  std::string metadata;
  OciState state;
};
CAISSON_JSON(OciContainerProcessState, CAISSON_FIELD("ociVersion", oci_version), CAISSON_FIELD("fds", fds),
             CAISSON_FIELD("pid", pid), CAISSON_FIELD_OMIT("metadata", metadata), CAISSON_FIELD("state", state))

// config.json at most 16 MiB; kInvalid names the field.
Result<RuntimeSpec> parse_runtime_spec(std::string_view text);
Result<OciProcess> parse_oci_process(std::string_view text);
std::string to_json(const RuntimeSpec& spec);
std::string to_json(const OciState& state);
std::string to_json(const OciContainerProcessState& state);

}  // namespace caisson::spec
