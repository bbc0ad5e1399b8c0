// SPDX-License-Identifier: Apache-2.0
// Control groups behind one interface: v1 hierarchies (a hybrid host whose v2 tree has no controllers
// counts as v1) or the unified v2 tree. Which files mean what lies in cgroup_v1.cc and cgroup_v2.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::sys {

struct CgroupHierarchy {
  std::string mount_point;               // "/sys/fs/cgroup/cpu,cpuacct"
  std::vector<std::string> controllers;  // "cpu", "cpuacct"; "name=systemd" for a named one
  std::string root = "/";                // what of the hierarchy is mounted there: "/docker/ID" in a container without
                                         // a cgroup namespace
  std::string own;                       // our own cgroup below the mount, "/" or "/user.slice"; empty: not below it
  bool operator==(const CgroupHierarchy&) const = default;
};

// What the host offers. Detection reads /proc/self/mountinfo and /proc/self/cgroup; a caller that starts
// many containers does it once and passes the value on.
struct CgroupSystem {
  bool v2 = false;
  std::vector<CgroupHierarchy> hierarchies;  // v2: exactly one, with the controllers of its root
  bool empty() const { return hierarchies.empty(); }
  bool has(std::string_view controller) const;
};
Result<CgroupSystem> detect_cgroups();
// The pure part: `v2_controllers` is cgroup.controllers of the v2 mount if there is one, `membership` is
// /proc/self/cgroup.
CgroupSystem parse_cgroup_system(std::string_view mountinfo, std::string_view v2_controllers,
                                 std::string_view membership = "");

struct DeviceRule {
  bool allow = false;
  char type = 'a';                 // 'a', 'b', 'c'
  int64_t major = -1, minor = -1;  // -1: any
  bool read = false, write = false, mknod = false;
  bool operator==(const DeviceRule&) const = default;
};

struct BlockThrottle {
  int64_t major = 0, minor = 0;
  uint64_t rate = 0;
  bool operator==(const BlockThrottle&) const = default;
};

struct HugePageLimit {
  std::string page_size;  // "2MB"
  uint64_t limit = 0;
  bool operator==(const HugePageLimit&) const = default;
};

struct RdmaLimit {
  std::string device;  // "mlx5_1"
  std::optional<uint32_t> handles, objects;
  bool operator==(const RdmaLimit&) const = default;
};

// Limits in the words of the OCI spec; absent means "leave as it is". Bytes, microseconds.
struct CgroupLimits {
  std::optional<int64_t> memory, memory_swap, memory_reservation;  // -1: unlimited; swap includes memory
  std::optional<uint64_t> memory_swappiness;
  std::optional<int64_t> memory_kernel_tcp;  // v1, where the kernel has the file
  bool oom_kill_disable = false;
  bool memory_check_before_update = false;  // a limit at or below the usage is refused, nothing is written
  std::optional<uint64_t> cpu_shares;
  std::optional<int64_t> cpu_quota;  // <= 0: unlimited
  std::optional<uint64_t> cpu_period, cpu_burst;
  std::optional<int64_t> cpu_realtime_runtime;
  std::optional<uint64_t> cpu_realtime_period;
  std::optional<int64_t> cpu_idle;
  std::string cpuset_cpus, cpuset_mems;
  std::optional<int64_t> pids;  // <= 0: unlimited
  std::optional<uint16_t> blkio_weight, blkio_leaf_weight;
  std::vector<BlockThrottle> blkio_weight_devices, blkio_leaf_weight_devices;  // rate: the weight
  std::vector<BlockThrottle> read_bps, write_bps, read_iops, write_iops;
  std::vector<HugePageLimit> huge_pages;
  // v1 only, as are swappiness, oom_kill_disable and leaf weights: passed over on v2, as runc does.
  std::optional<uint32_t> net_class_id;
  std::vector<std::pair<std::string, uint32_t>> net_priorities;  // interface, priority
  std::vector<RdmaLimit> rdma;
  std::vector<DeviceRule> devices;                           // in order, the last match wins; empty: no device control
  std::vector<std::pair<std::string, std::string>> unified;  // v2 file name, value
  bool operator==(const CgroupLimits&) const = default;
};

// One container's cgroup: its directory in every hierarchy (v2: one).
struct CgroupPaths {
  bool v2 = false;
  std::vector<std::string> dirs;  // parallel to controllers
  std::vector<std::vector<std::string>> controllers;
  // Controllers of hierarchies that were left out for lack of permission (rootless).
  std::vector<std::string> left_out;
  bool empty() const { return dirs.empty(); }
  // Directory of the hierarchy with `controller`, or nullptr.
  const std::string* dir_of(std::string_view controller) const;
};

// Where `path` lies; no system call. A relative path lies below our own cgroup, on v2 beside it (groups
// with processes enable no controllers for groups below), as runc has it. Of an empty `own` the root is taken.
CgroupPaths cgroup_paths(const CgroupSystem& system, std::string_view path);

struct CgroupCreation {
  enum class IfThere : unsigned char {
    kFail,      // kExists
    kUseEmpty,  // taken over; kConflict when there are processes in it or it is frozen
    kJoin,      // taken over whatever is in it: a scope that systemd made
  };
  IfThere if_there = IfThere::kFail;
  // Hierarchies we may not write to (EACCES, EPERM, EROFS) are left out. For rootless callers, and only
  // when no cgroupsPath was asked for. A limit for one of these is refused by apply_cgroup_limits.
  bool leave_out_denied = false;
};
// Makes the directories (parents too; v2: enables the controllers on the way down; v1: inherits
// cpuset.cpus and cpuset.mems).
Result<CgroupPaths> create_cgroup(const CgroupSystem& system, std::string_view path, const CgroupCreation& how = {});

struct LimitOptions {
  // Device rules are passed over when the kernel refuses them: in a user namespace nobody may set them,
  // and nothing can be made with mknod either.
  bool rootless = false;
};
// For a new group. kUnsupported when a limit is asked for whose controller is missing.
Result<> apply_cgroup_limits(const CgroupPaths& paths, const CgroupLimits& limits, const LimitOptions& options = {});
// For one in use: what `limits` leaves out is read where it matters (memory when swap alone is given, a
// quota when the period alone is). Device rules are replaced when there are any.
Result<> update_cgroup_limits(const CgroupPaths& paths, const CgroupLimits& limits, const LimitOptions& options = {});

// `limits` with what its values stand beside in the group now: the period of a quota, the quota of a period,
// v2's memory of memory plus swap. For someone who sets them elsewhere, as systemd's properties.
CgroupLimits complete_cgroup_limits(const CgroupPaths& paths, CgroupLimits limits);

// The spec's v1 words on v2's scales, as every runtime maps them: 2..262144 onto 1..10000, 10..1000 onto 1..10000.
uint64_t cpu_weight_of_shares(uint64_t shares);
uint64_t io_weight_of_blkio(uint64_t weight);

// Descriptors a child needs to move itself: v1 the open `tasks` files ("0" is written by the child, as
// writing a pid from outside waits for an RCU grace period); v2 the directory for CLONE_INTO_CGROUP.
Result<std::vector<UniqueFd>> open_cgroup_join(const CgroupPaths& paths);

// v2 only. The group at or below `within` that holds the process now; kNotFound when it is elsewhere.
// For a process to be born beside it: a group with controllers enabled below takes none itself (EBUSY).
Result<CgroupPaths> cgroup_of_process(const CgroupPaths& within, int pidfd);
// The pure part: `membership` is /proc/PID/cgroup.
Result<std::string> cgroup_dir_of(std::string_view membership, const CgroupHierarchy& top, const std::string& within);

Result<> freeze_cgroup(const CgroupPaths& paths, bool frozen);  // waits until it is so, 2 s at most
Result<bool> cgroup_frozen(const CgroupPaths& paths);
Result<std::vector<pid_t>> cgroup_pids(const CgroupPaths& paths);  // nested groups included
// SIGKILL to every process inside, a frozen cgroup included. Does not wait.
Result<> kill_cgroup(const CgroupPaths& paths);
// rmdir of nested groups first; retries while the kernel still counts exiting tasks (1 s at most).
Result<> remove_cgroup(const CgroupPaths& paths);

struct BlockStat {
  uint64_t major = 0, minor = 0;
  uint64_t read_bytes = 0, write_bytes = 0, read_ops = 0, write_ops = 0;
};
// Absent values are 0; limits that are "max" come as UINT64_MAX.
struct CgroupStats {
  uint64_t memory_usage = 0, memory_max_usage = 0, memory_limit = UINT64_MAX, memory_fail_count = 0;
  std::vector<std::pair<std::string, uint64_t>> memory_stat;  // the kernel's names
  uint64_t cpu_total_ns = 0, cpu_user_ns = 0, cpu_system_ns = 0;
  std::vector<uint64_t> cpu_per_cpu_ns;  // v1 only
  uint64_t cpu_periods = 0, cpu_throttled_periods = 0, cpu_throttled_ns = 0;
  uint64_t pids_current = 0, pids_limit = UINT64_MAX;
  uint64_t oom_kills = 0;
  std::vector<BlockStat> block;
};
Result<CgroupStats> read_cgroup_stats(const CgroupPaths& paths);
// Only the counter that tells whether the OOM killer was at work.
Result<uint64_t> read_oom_kills(const CgroupPaths& paths);

}  // namespace caisson::sys
