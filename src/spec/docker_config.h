// SPDX-License-Identifier: Apache-2.0
// What a client asks for when it creates a container: Config, HostConfig and NetworkingConfig of the
// Docker Engine API (1.24 to 1.51). Plain data with JSON tables; defaults are Docker's.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "wire/json.h"

namespace caisson::spec {

// A list that old clients may send as one string (Cmd, Entrypoint).
struct StringList {
  std::vector<std::string> items;
  bool present = false;  // false: null or absent
  Result<> read_json(json::Reader& reader);
  void write_json(json::Writer& writer) const;
  bool json_empty() const { return !present; }
};

using StringSet = std::map<std::string, json::Empty>;
using StringMap = std::map<std::string, std::string>;

struct HealthConfig {
  std::vector<std::string> test;
  int64_t interval = 0, timeout = 0, start_period = 0, start_interval = 0;  // ns
  int64_t retries = 0;
  std::string on_failure;  // "", none, kill, restart, stop: what an unhealthy container gets; ours, as podman's
};

struct ContainerConfig {
  std::string hostname, domainname, user;
  bool attach_stdin = false, attach_stdout = false, attach_stderr = false;
  StringSet exposed_ports;
  bool tty = false, open_stdin = false, stdin_once = false;
  std::vector<std::string> env;
  StringList cmd;
  std::optional<HealthConfig> healthcheck;
  bool args_escaped = false;
  std::string image;
  StringSet volumes;
  std::string working_dir;
  StringList entrypoint;
  bool network_disabled = false;
  std::string mac_address;
  std::vector<std::string> on_build;
  StringMap labels;
  std::string stop_signal;
  std::optional<int64_t> stop_timeout;  // seconds
  StringList shell;
};

struct PortBinding {
  std::string host_ip, host_port;
};
using PortMap = std::map<std::string, std::optional<std::vector<PortBinding>>>;  // "80/tcp"

struct WeightDevice {
  std::string path;
  int64_t weight = 0;
};
struct ThrottleDevice {
  std::string path;
  int64_t rate = 0;
};

struct RestartPolicy {
  std::string name;
  int64_t maximum_retry_count = 0;
};

struct LogConfig {
  std::string type;
  StringMap config;
};

struct DeviceMapping {
  std::string path_on_host, path_in_container, cgroup_permissions;
};

struct Ulimit {
  std::string name;
  int64_t soft = 0, hard = 0;
};

struct BindOptions {
  std::string propagation;
  bool non_recursive = false, create_mountpoint = false, read_only_non_recursive = false,
       read_only_force_recursive = false;
};
struct VolumeOptions {
  bool no_copy = false;
  StringMap labels;
  std::optional<json::Raw> driver_config;
  std::string subpath;
};
struct TmpfsOptions {
  int64_t size_bytes = 0;
  int64_t mode = 0;
  std::vector<std::vector<std::string>> options;  // name, or name and value
};
struct ImageOptions {
  std::string subpath;
};
struct Mount {
  std::string type, source, target;
  bool read_only = false;
  std::string consistency;
  std::optional<BindOptions> bind_options;
  std::optional<VolumeOptions> volume_options;
  std::optional<TmpfsOptions> tmpfs_options;
  std::optional<ImageOptions> image_options;
};

// Ours, as podman's: a secret of this host that the container gets.
struct SecretUse {
  std::string source, target;  // name or id; file below /run/secrets, absolute path or name of the variable
  std::string type;            // "mount" (or nothing), "env"
  int64_t uid = 0, gid = 0, mode = 0444;
};

struct HostConfig {
  std::vector<std::string> binds;
  std::string container_id_file;
  LogConfig log_config;
  std::string network_mode;
  PortMap port_bindings;
  RestartPolicy restart_policy;
  bool auto_remove = false;
  std::string volume_driver;
  std::vector<std::string> volumes_from;
  std::vector<int64_t> console_size;  // height, width
  StringMap annotations;
  std::vector<std::string> cap_add, cap_drop;
  std::string cgroupns_mode;
  std::vector<std::string> dns, dns_options, dns_search, extra_hosts, group_add;
  std::string ipc_mode, cgroup;
  std::vector<std::string> links;
  int64_t oom_score_adj = 0;
  std::string pid_mode;
  bool privileged = false, publish_all_ports = false, readonly_rootfs = false;
  std::vector<std::string> security_opt;
  StringMap storage_opt, tmpfs;
  std::string uts_mode, userns_mode;
  int64_t shm_size = 0;
  StringMap sysctls;
  std::string runtime;
  std::string isolation;
  int64_t cpu_shares = 0, memory = 0, nano_cpus = 0;
  std::string cgroup_parent;
  int64_t blkio_weight = 0;
  std::vector<WeightDevice> blkio_weight_device;
  std::vector<ThrottleDevice> blkio_device_read_bps, blkio_device_write_bps, blkio_device_read_iops,
      blkio_device_write_iops;
  int64_t cpu_period = 0, cpu_quota = 0, cpu_realtime_period = 0, cpu_realtime_runtime = 0;
  std::string cpuset_cpus, cpuset_mems;
  std::vector<DeviceMapping> devices;
  std::vector<std::string> device_cgroup_rules;
  std::vector<json::Raw> device_requests;
  int64_t memory_reservation = 0, memory_swap = 0;
  int64_t kernel_memory = 0;  // until 1.41
  std::optional<int64_t> memory_swappiness;
  std::optional<bool> oom_kill_disable;
  std::string oom_policy;  // ours: "process" (or nothing), "group"
  // Ours: octal; "LINUX" or "LINUX32"; values of files of cgroup v2; seconds by the clock's name.
  std::string umask, personality;
  StringMap cgroup_conf, time_offsets;
  std::optional<int64_t> pids_limit;
  std::vector<Ulimit> ulimits;
  std::optional<bool> init;
  std::vector<Mount> mounts;
  std::optional<std::vector<std::string>> masked_paths, readonly_paths;
  std::vector<SecretUse> secrets;
};

struct EndpointIpam {
  std::string ipv4_address, ipv6_address;
  std::vector<std::string> link_local_ips;
};
struct EndpointSettings {
  std::optional<EndpointIpam> ipam_config;
  std::vector<std::string> links, aliases;
  std::string mac_address;
  StringMap driver_opts;
  int64_t gw_priority = 0;
  std::string network_id, endpoint_id, gateway, ip_address;
  int64_t ip_prefix_len = 0;
  std::string ipv6_gateway, global_ipv6_address;
  int64_t global_ipv6_prefix_len = 0;
  std::vector<std::string> dns_names;
};
struct NetworkingConfig {
  std::map<std::string, std::optional<EndpointSettings>> endpoints;
};

// Body of POST /containers/create: Config with two more members beside its own.
struct CreateExtras {
  HostConfig host_config;
  NetworkingConfig networking_config;
  std::string platform;  // of the request's query: "linux/arm64/v8"
};

struct ExecConfig {
  std::string user;
  bool privileged = false, tty = false;
  std::optional<std::vector<int64_t>> console_size;
  bool attach_stdin = false, attach_stdout = false, attach_stderr = false;
  std::string detach_keys;
  std::vector<std::string> env;
  std::string working_dir;
  StringList cmd;
  bool kill_on_detach = false;  // ours: the command does not outlive its client
};
struct ExecStartConfig {
  bool detach = false, tty = false;
  std::optional<std::vector<int64_t>> console_size;
};

CAISSON_JSON(HealthConfig, CAISSON_FIELD_OMIT("Test", test), CAISSON_FIELD_OMIT("Interval", interval),
             CAISSON_FIELD_OMIT("Timeout", timeout), CAISSON_FIELD_OMIT("StartPeriod", start_period),
             CAISSON_FIELD_OMIT("StartInterval", start_interval), CAISSON_FIELD_OMIT("Retries", retries),
             CAISSON_FIELD_OMIT("OnFailure", on_failure))
CAISSON_JSON(ContainerConfig, CAISSON_FIELD("Hostname", hostname), CAISSON_FIELD("Domainname", domainname),
             CAISSON_FIELD("User", user), CAISSON_FIELD("AttachStdin", attach_stdin),
             CAISSON_FIELD("AttachStdout", attach_stdout), CAISSON_FIELD("AttachStderr", attach_stderr),
             CAISSON_FIELD_OMIT("ExposedPorts", exposed_ports), CAISSON_FIELD("Tty", tty),
             CAISSON_FIELD("OpenStdin", open_stdin), CAISSON_FIELD("StdinOnce", stdin_once),
             CAISSON_FIELD_NULL("Env", env), CAISSON_FIELD("Cmd", cmd), CAISSON_FIELD_OMIT("Healthcheck", healthcheck),
             CAISSON_FIELD_OMIT("ArgsEscaped", args_escaped), CAISSON_FIELD("Image", image),
             CAISSON_FIELD_NULL("Volumes", volumes), CAISSON_FIELD("WorkingDir", working_dir),
             CAISSON_FIELD("Entrypoint", entrypoint), CAISSON_FIELD_OMIT("NetworkDisabled", network_disabled),
             CAISSON_FIELD_OMIT("MacAddress", mac_address), CAISSON_FIELD_NULL("OnBuild", on_build),
             CAISSON_FIELD("Labels", labels), CAISSON_FIELD_OMIT("StopSignal", stop_signal),
             CAISSON_FIELD_OMIT("StopTimeout", stop_timeout), CAISSON_FIELD_OMIT("Shell", shell))
CAISSON_JSON(PortBinding, CAISSON_FIELD("HostIp", host_ip), CAISSON_FIELD("HostPort", host_port))
CAISSON_JSON(WeightDevice, CAISSON_FIELD("Path", path), CAISSON_FIELD("Weight", weight))
CAISSON_JSON(ThrottleDevice, CAISSON_FIELD("Path", path), CAISSON_FIELD("Rate", rate))
CAISSON_JSON(RestartPolicy, CAISSON_FIELD("Name", name), CAISSON_FIELD("MaximumRetryCount", maximum_retry_count))
CAISSON_JSON(LogConfig, CAISSON_FIELD("Type", type), CAISSON_FIELD("Config", config))
CAISSON_JSON(DeviceMapping, CAISSON_FIELD("PathOnHost", path_on_host),
             CAISSON_FIELD("PathInContainer", path_in_container),
             CAISSON_FIELD("CgroupPermissions", cgroup_permissions))
CAISSON_JSON(Ulimit, CAISSON_FIELD("Name", name), CAISSON_FIELD("Hard", hard), CAISSON_FIELD("Soft", soft))
CAISSON_JSON(BindOptions, CAISSON_FIELD_OMIT("Propagation", propagation),
             CAISSON_FIELD_OMIT("NonRecursive", non_recursive),
             CAISSON_FIELD_OMIT("CreateMountpoint", create_mountpoint),
             CAISSON_FIELD_OMIT("ReadOnlyNonRecursive", read_only_non_recursive),
             CAISSON_FIELD_OMIT("ReadOnlyForceRecursive", read_only_force_recursive))
CAISSON_JSON(VolumeOptions, CAISSON_FIELD_OMIT("NoCopy", no_copy), CAISSON_FIELD_OMIT("Labels", labels),
             CAISSON_FIELD_OMIT("DriverConfig", driver_config), CAISSON_FIELD_OMIT("Subpath", subpath))
CAISSON_JSON(TmpfsOptions, CAISSON_FIELD_OMIT("SizeBytes", size_bytes), CAISSON_FIELD_OMIT("Mode", mode),
             CAISSON_FIELD_OMIT("Options", options))
CAISSON_JSON(ImageOptions, CAISSON_FIELD_OMIT("Subpath", subpath))
CAISSON_JSON(Mount, CAISSON_FIELD_OMIT("Type", type), CAISSON_FIELD_OMIT("Source", source),
             CAISSON_FIELD_OMIT("Target", target), CAISSON_FIELD_OMIT("ReadOnly", read_only),
             CAISSON_FIELD_OMIT("Consistency", consistency), CAISSON_FIELD_OMIT("BindOptions", bind_options),
             CAISSON_FIELD_OMIT("VolumeOptions", volume_options), CAISSON_FIELD_OMIT("TmpfsOptions", tmpfs_options),
             CAISSON_FIELD_OMIT("ImageOptions", image_options))
CAISSON_JSON(SecretUse, CAISSON_FIELD("Source", source), CAISSON_FIELD("Target", target),
             CAISSON_FIELD_OMIT("Type", type), CAISSON_FIELD("UID", uid), CAISSON_FIELD("GID", gid),
             CAISSON_FIELD("Mode", mode))
CAISSON_JSON(
    HostConfig, CAISSON_FIELD_NULL("Binds", binds), CAISSON_FIELD("ContainerIDFile", container_id_file),
    CAISSON_FIELD("LogConfig", log_config), CAISSON_FIELD("NetworkMode", network_mode),
    CAISSON_FIELD("PortBindings", port_bindings), CAISSON_FIELD("RestartPolicy", restart_policy),
    CAISSON_FIELD("AutoRemove", auto_remove), CAISSON_FIELD("VolumeDriver", volume_driver),
    CAISSON_FIELD_NULL("VolumesFrom", volumes_from), CAISSON_FIELD_OMIT("ConsoleSize", console_size),
    CAISSON_FIELD_OMIT("Annotations", annotations), CAISSON_FIELD_NULL("CapAdd", cap_add),
    CAISSON_FIELD_NULL("CapDrop", cap_drop), CAISSON_FIELD("CgroupnsMode", cgroupns_mode), CAISSON_FIELD("Dns", dns),
    CAISSON_FIELD("DnsOptions", dns_options), CAISSON_FIELD("DnsSearch", dns_search),
    CAISSON_FIELD_NULL("ExtraHosts", extra_hosts), CAISSON_FIELD_NULL("GroupAdd", group_add),
    CAISSON_FIELD("IpcMode", ipc_mode), CAISSON_FIELD("Cgroup", cgroup), CAISSON_FIELD_NULL("Links", links),
    CAISSON_FIELD("OomScoreAdj", oom_score_adj), CAISSON_FIELD("PidMode", pid_mode),
    CAISSON_FIELD("Privileged", privileged), CAISSON_FIELD("PublishAllPorts", publish_all_ports),
    CAISSON_FIELD("ReadonlyRootfs", readonly_rootfs), CAISSON_FIELD_NULL("SecurityOpt", security_opt),
    CAISSON_FIELD_OMIT("StorageOpt", storage_opt), CAISSON_FIELD_OMIT("Tmpfs", tmpfs),
    CAISSON_FIELD("UTSMode", uts_mode), CAISSON_FIELD("UsernsMode", userns_mode), CAISSON_FIELD("ShmSize", shm_size),
    CAISSON_FIELD_OMIT("Sysctls", sysctls), CAISSON_FIELD("Runtime", runtime), CAISSON_FIELD("Isolation", isolation),
    CAISSON_FIELD("CpuShares", cpu_shares), CAISSON_FIELD("Memory", memory), CAISSON_FIELD("NanoCpus", nano_cpus),
    CAISSON_FIELD("CgroupParent", cgroup_parent), CAISSON_FIELD("BlkioWeight", blkio_weight),
    CAISSON_FIELD("BlkioWeightDevice", blkio_weight_device), CAISSON_FIELD("BlkioDeviceReadBps", blkio_device_read_bps),
    CAISSON_FIELD("BlkioDeviceWriteBps", blkio_device_write_bps),
    CAISSON_FIELD("BlkioDeviceReadIOps", blkio_device_read_iops),
    CAISSON_FIELD("BlkioDeviceWriteIOps", blkio_device_write_iops), CAISSON_FIELD("CpuPeriod", cpu_period),
    CAISSON_FIELD("CpuQuota", cpu_quota), CAISSON_FIELD("CpuRealtimePeriod", cpu_realtime_period),
    CAISSON_FIELD("CpuRealtimeRuntime", cpu_realtime_runtime), CAISSON_FIELD("CpusetCpus", cpuset_cpus),
    CAISSON_FIELD("CpusetMems", cpuset_mems), CAISSON_FIELD("Devices", devices),
    CAISSON_FIELD_NULL("DeviceCgroupRules", device_cgroup_rules), CAISSON_FIELD_NULL("DeviceRequests", device_requests),
    CAISSON_FIELD_OMIT("KernelMemory", kernel_memory), CAISSON_FIELD("MemoryReservation", memory_reservation),
    CAISSON_FIELD("MemorySwap", memory_swap), CAISSON_FIELD_NULL("MemorySwappiness", memory_swappiness),
    CAISSON_FIELD_NULL("OomKillDisable", oom_kill_disable), CAISSON_FIELD_OMIT("OomPolicy", oom_policy),
    CAISSON_FIELD_OMIT("Umask", umask), CAISSON_FIELD_OMIT("Personality", personality),
    CAISSON_FIELD_OMIT("CgroupConf", cgroup_conf), CAISSON_FIELD_OMIT("TimeOffsets", time_offsets),
    CAISSON_FIELD_NULL("PidsLimit", pids_limit), CAISSON_FIELD("Ulimits", ulimits), CAISSON_FIELD_OMIT("Init", init),
    CAISSON_FIELD_OMIT("Mounts", mounts), CAISSON_FIELD_NULL("MaskedPaths", masked_paths),
    CAISSON_FIELD_NULL("ReadonlyPaths", readonly_paths), CAISSON_FIELD_OMIT("Secrets", secrets))
CAISSON_JSON(EndpointIpam, CAISSON_FIELD_OMIT("IPv4Address", ipv4_address),
             CAISSON_FIELD_OMIT("IPv6Address", ipv6_address), CAISSON_FIELD_OMIT("LinkLocalIPs", link_local_ips))
CAISSON_JSON(EndpointSettings, CAISSON_FIELD_NULL("IPAMConfig", ipam_config), CAISSON_FIELD_NULL("Links", links),
             CAISSON_FIELD_NULL("Aliases", aliases), CAISSON_FIELD("MacAddress", mac_address),
             CAISSON_FIELD_NULL("DriverOpts", driver_opts), CAISSON_FIELD("GwPriority", gw_priority),
             CAISSON_FIELD("NetworkID", network_id), CAISSON_FIELD("EndpointID", endpoint_id),
             CAISSON_FIELD("Gateway", gateway), CAISSON_FIELD("IPAddress", ip_address),
             CAISSON_FIELD("IPPrefixLen", ip_prefix_len), CAISSON_FIELD("IPv6Gateway", ipv6_gateway),
             CAISSON_FIELD("GlobalIPv6Address", global_ipv6_address),
             CAISSON_FIELD("GlobalIPv6PrefixLen", global_ipv6_prefix_len), CAISSON_FIELD_NULL("DNSNames", dns_names))
CAISSON_JSON(NetworkingConfig, CAISSON_FIELD("EndpointsConfig", endpoints))
CAISSON_JSON(CreateExtras, CAISSON_FIELD("HostConfig", host_config),
             CAISSON_FIELD("NetworkingConfig", networking_config))
CAISSON_JSON(ExecConfig, CAISSON_FIELD("User", user), CAISSON_FIELD("Privileged", privileged),
             CAISSON_FIELD("Tty", tty), CAISSON_FIELD_OMIT("ConsoleSize", console_size),
             CAISSON_FIELD("AttachStdin", attach_stdin), CAISSON_FIELD("AttachStdout", attach_stdout),
             CAISSON_FIELD("AttachStderr", attach_stderr), CAISSON_FIELD("DetachKeys", detach_keys),
             CAISSON_FIELD_NULL("Env", env), CAISSON_FIELD("WorkingDir", working_dir), CAISSON_FIELD("Cmd", cmd),
             CAISSON_FIELD_OMIT("KillOnDetach", kill_on_detach))
CAISSON_JSON(ExecStartConfig, CAISSON_FIELD("Detach", detach), CAISSON_FIELD("Tty", tty),
             CAISSON_FIELD_OMIT("ConsoleSize", console_size))

}  // namespace caisson::spec
