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

namespace caisson::runtime {

struct ResourceLimit {
  uint32_t resource = 0;  // RLIMIT_*
  uint64_t soft = 0, hard = 0;
  bool operator==(const ResourceLimit&) const = default;
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
  int32_t umask = -1;            // -1: 0022
  std::string seccomp_bpf;       // array of struct sock_filter; empty: no filter
  uint32_t seccomp_flags = 0;    // SECCOMP_FILTER_FLAG_*
  std::string apparmor_profile, selinux_label;
  bool terminal = false;
  uint16_t rows = 0, columns = 0;  // first window size of the terminal; 0: unset
  bool operator==(const ProcessPlan&) const = default;
};

struct NamespaceJoin {
  uint64_t type = 0;  // one CLONE_NEW* bit
  std::string path;   // "/proc/PID/ns/net", "/run/netns/x"
  bool operator==(const NamespaceJoin&) const = default;
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
  std::string data;                              // file system options, separated by commas
  uint64_t set_attributes = 0, clear_attributes = 0;  // MOUNT_ATTR_*
  uint64_t set_attributes_recursive = 0, clear_attributes_recursive = 0;  // "rro" and its like
  uint64_t propagation = 0;                      // MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE; 0: private
  bool propagation_recursive = true;
  bool recursive = false;                        // kBind: mounts below the source come along
  bool operator==(const Mount&) const = default;
};

struct Device {
  std::string path;
  uint32_t mode = 0666;  // permission bits | S_IFCHR/S_IFBLK/S_IFIFO
  uint32_t major = 0, minor = 0;
  uint32_t uid = 0, gid = 0;
  bool operator==(const Device&) const = default;
};

struct IdMapping {
  uint32_t container_id = 0, host_id = 0, size = 0;
  bool operator==(const IdMapping&) const = default;
};

struct CgroupPlan {
  std::string path;          // "/caisson/ID"; empty: stay in the caller's cgroup
  sys::CgroupSystem system;  // empty: the executing side detects it
  sys::CgroupLimits limits;
};

struct Plan {
  std::string id;
  ProcessPlan process;
  uint64_t create_namespaces = 0;  // CLONE_NEW* bits
  std::vector<NamespaceJoin> join_namespaces;
  std::string hostname, domainname;
  std::string rootfs;         // path; empty: comes as StartFds::rootfs
  bool readonly_root = false;
  uint64_t root_propagation = 0;  // MS_PRIVATE, MS_SLAVE, MS_SHARED; 0: private. Of the container's "/"
  std::vector<Mount> mounts;
  std::vector<std::string> masked_paths, readonly_paths;
  std::vector<Device> devices;
  bool default_dev_links = true;  // /dev/fd, stdin, stdout, stderr, ptmx, core
  std::vector<std::pair<std::string, std::string>> sysctls;  // "net.ipv4.ip_forward", "1"
  CgroupPlan cgroup;
  std::vector<IdMapping> uid_mappings, gid_mappings;
  bool new_session_keyring = true;
  std::optional<uint32_t> personality;
};

// Encoded plans are at most this long; decode refuses more.
inline constexpr size_t kMaxPlanBytes = 4 << 20;

std::string encode(const Plan& plan);
Result<Plan> decode_plan(std::string_view bytes);  // kCorrupt
std::string encode(const ProcessPlan& process);
Result<ProcessPlan> decode_process_plan(std::string_view bytes);

}  // namespace caisson::runtime
