// SPDX-License-Identifier: Apache-2.0
// A container as the child side carries it out: plain data, everything already decided (names resolved
// to numbers, profiles compiled). Made by plan_builder from an OCI runtime spec, sent to the monitor
// through a small bounded binary codec, executed by container.cc. No system call happens here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sys/cgroup.h"
#include "sys/systemd_cgroup.h"

namespace caisson::runtime {

struct ResourceLimit {
  uint32_t resource = 0;  // RLIMIT_*
  uint64_t soft = 0, hard = 0;
  bool operator==(const ResourceLimit&) const = default;
};

// sched_setattr(2), in its units.
struct SchedulerPlan {
  uint32_t policy = 0;  // SCHED_*
  uint64_t flags = 0;   // SCHED_FLAG_*
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0, deadline = 0, period = 0;
  bool operator==(const SchedulerPlan&) const = default;
};

// set_mempolicy(2).
struct MemoryPolicyPlan {
  uint32_t mode = 0;  // MPOL_* with its MPOL_F_* flags
  std::string nodes;  // bit mask, native unsigned longs
  bool operator==(const MemoryPolicyPlan&) const = default;
};

struct ProcessPlan {
  std::vector<std::string> args, env;
  std::string cwd = "/";  // made if absent
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> additional_gids;
  // Bit n is capability n.
  uint64_t cap_effective = 0, cap_permitted = 0, cap_inheritable = 0, cap_bounding = 0, cap_ambient = 0;
  bool no_new_privs = false;
  std::vector<ResourceLimit> rlimits;
  std::optional<int32_t> oom_score_adj;
  int32_t umask = -1;          // -1: 0022
  std::string seccomp_bpf;     // array of struct sock_filter; empty: no filter
  uint32_t seccomp_flags = 0;  // SECCOMP_FILTER_FLAG_*
  std::string apparmor_profile, selinux_label;
  bool terminal = false;
  uint16_t rows = 0, columns = 0;  // first window size of the terminal; 0: unset
  std::optional<SchedulerPlan> scheduler;
  std::optional<uint16_t> io_priority;           // as ioprio_set(2) takes it
  std::string initial_affinity, final_affinity;  // cpu masks, native unsigned longs; of execs only
  std::optional<MemoryPolicyPlan> memory_policy;
  std::optional<uint32_t> personality;  // PER_*
  std::string session_keyring;          // of execs: the container's; empty: a new one without a name
  // The filter asks a listener (SCMP_ACT_NOTIFY): its descriptor goes to this socket, with the state.
  std::string seccomp_listener_path, seccomp_listener_metadata;
  uint32_t preserve_fds = 0;  // 3 .. 3+n-1 stay open in the program
  bool operator==(const ProcessPlan&) const = default;
};

// By this name further processes of a container find the keyring of its first.
inline std::string session_keyring_of(std::string_view id) { return id.empty() ? "" : "_ses." + std::string(id); }

struct NamespaceJoin {
  uint64_t type = 0;  // one CLONE_NEW* bit
  std::string path;   // "/proc/PID/ns/net", "/run/netns/x"
  bool operator==(const NamespaceJoin&) const = default;
};

struct IdMapping {
  uint32_t container_id = 0, host_id = 0, size = 0;
  bool operator==(const IdMapping&) const = default;
};

struct Mount {
  enum class Kind : uint8_t {
    kBind,        // source is a path of the host
    kFilesystem,  // a new instance of `type`
    kCgroup,      // the container's view of the host's hierarchies, v1 or v2
  };
  Kind kind = Kind::kFilesystem;
  std::string destination;  // looked up inside the root; made when missing
  std::string type;
  std::string source;
  std::string beneath;  // kBind: the directory below which the source lies; no link leads out of it
  std::string data;     // file system options, separated by commas
  uint64_t set_attributes = 0, clear_attributes = 0;                      // MOUNT_ATTR_*
  uint64_t set_attributes_recursive = 0, clear_attributes_recursive = 0;  // "rro" and its like
  uint64_t propagation = 0;  // MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE or slave and shared; 0: private
  bool propagation_recursive = true;
  bool recursive = false;  // kBind: mounts below the source come along
  bool copy_up = false;    // tmpfs starts with what the image has at the destination
  bool id_mapped = false, id_mapped_recursive = false;
  std::vector<IdMapping> uid_mappings, gid_mappings;  // of an id-mapped mount; empty: the container's
  bool operator==(const Mount&) const = default;
};

struct Device {
  std::string path;
  uint32_t mode = 0666;  // permission bits | S_IFCHR/S_IFBLK/S_IFIFO
  uint32_t major = 0, minor = 0;
  uint32_t uid = 0, gid = 0;
  bool operator==(const Device&) const = default;
};

struct TimeOffset {
  int32_t clock = 0;  // CLOCK_MONOTONIC, CLOCK_BOOTTIME
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
  bool operator==(const TimeOffset&) const = default;
};

struct Hook {
  std::string path;
  std::vector<std::string> args, env;  // args[0] included
  uint32_t timeout_s = 0;              // 0: none
  bool operator==(const Hook&) const = default;
};

struct Hooks {
  std::vector<Hook> prestart, create_runtime, create_container, start_container, poststart, poststop;
  bool operator==(const Hooks&) const = default;
  bool empty() const { return *this == Hooks{}; }
};

struct CgroupPlan {
  std::string path;          // "/caisson/ID"; empty: stay in the caller's cgroup
  sys::CgroupSystem system;  // empty: the executing side detects it
  sys::CgroupLimits limits;
  // With the path of caisson-systemd the group is a unit of systemd, and `path` is "slice:prefix:name".
  std::string systemd_program;
  bool systemd_user = false;                             // the user's own manager
  std::vector<sys::SystemdProperty> systemd_properties;  // beside those of the limits
  bool take_over = false;                                // one that is there already serves, as long as it is empty
  bool optional = false;  // nobody named it: an ordinary user goes without where it cannot be made
};

struct Plan {
  std::string id;
  ProcessPlan process;
  uint64_t create_namespaces = 0;  // CLONE_NEW* bits
  std::vector<NamespaceJoin> join_namespaces;
  std::string hostname, domainname;
  std::string rootfs;  // path; empty: comes as StartFds::rootfs
  bool readonly_root = false;
  uint64_t root_propagation = 0;  // MS_SLAVE, MS_SHARED, MS_UNBINDABLE, with MS_REC; 0: private. Of the container's "/"
  std::vector<Mount> mounts;
  std::vector<std::string> masked_paths, readonly_paths;
  std::vector<Device> devices;
  bool default_dev_links = true;                             // /dev/fd, stdin, stdout, stderr, ptmx, core
  std::vector<std::pair<std::string, std::string>> sysctls;  // "net.ipv4.ip_forward", "1"
  CgroupPlan cgroup;
  std::vector<IdMapping> uid_mappings, gid_mappings;
  bool new_session_keyring = true;
  std::vector<TimeOffset> time_offsets;
  std::vector<std::pair<std::string, std::string>> net_devices;  // name here, name in the container
  bool no_pivot = false;  // chroot instead of pivot_root: for a root in an initramfs
  bool rootless = false;  // the caller is an ordinary user: what it may not do and nobody asked for is left out
  // What hooks are told, and the hooks.
  std::string oci_version, bundle;
  std::vector<std::pair<std::string, std::string>> annotations;
  Hooks hooks;
};

// Encoded plans are at most this long; decode refuses more.
inline constexpr size_t kMaxPlanBytes = 4 << 20;

std::string encode(const Plan& plan);
Result<Plan> decode_plan(std::string_view bytes);  // kCorrupt
std::string encode(const ProcessPlan& process);
Result<ProcessPlan> decode_process_plan(std::string_view bytes);

}  // namespace caisson::runtime
