// SPDX-License-Identifier: Apache-2.0
// The files of the v1 controllers (Documentation/admin-guide/cgroup-v1).
#include <fcntl.h>
#include <time.h>

#include <algorithm>

#include "base/clock.h"
#include "base/text.h"
#include "sys/cgroup_internal.h"
#include "sys/files.h"

namespace caisson::sys::detail {

namespace {

// `what` as the reference runtime names its subsystems' limits.
Result<std::string> need(const CgroupPaths& paths, const char* controller, const char* what) {
  if (auto dir = paths.dir_of(controller)) return *dir;
  if (std::find(paths.left_out.begin(), paths.left_out.end(), controller) != paths.left_out.end())
    return fail(ErrorKind::kDenied, "cannot set %s: container could not join or create cgroup '%s'", what, controller);
  return fail(ErrorKind::kUnsupported, "%s: this host has no '%s' cgroup", what, controller);
}

std::string number(int64_t value) { return std::to_string(value); }

Result<> set_memory(const std::string& dir, int64_t value) {
  auto done = write_control(dir, "memory.limit_in_bytes", number(value));
  if (done || done.error().err != EBUSY) return done;
  return fail(ErrorKind::kConflict, "unable to set memory limit to %ld (current usage: %lu, peak usage: %lu)",
              static_cast<long>(value),
              static_cast<unsigned long>(read_number(dir, "memory.usage_in_bytes").value_or(0)),
              static_cast<unsigned long>(read_number(dir, "memory.max_usage_in_bytes").value_or(0)));
}

Result<> apply_memory(const CgroupPaths& paths, const CgroupLimits& limits) {
  bool wanted = limits.memory || limits.memory_swap || limits.memory_reservation || limits.memory_swappiness ||
                limits.memory_kernel_tcp || limits.oom_kill_disable;
  if (!wanted) return {};
  std::string dir = TRY(need(paths, "memory", "memory limit"));
  TRY(check_memory_usage(dir, "memory.usage_in_bytes", limits));
  const char* swap_file = "memory.memsw.limit_in_bytes";
  auto memory = limits.memory, swap = limits.memory_swap;
  // Memory without a limit means swap without one, unless somebody says otherwise.
  if (memory == -1 && !swap && path_exists(dir + "/" + swap_file)) swap = -1;
  // memsw may never be below the limit, so the order depends on whether it grows over the limit of now.
  bool swap_first = memory && swap &&
                    (*swap < 0 || read_number(dir, "memory.limit_in_bytes").value_or(0) < static_cast<uint64_t>(*swap));
  if (swap && swap_first) TRY(write_control(dir, swap_file, number(*swap)));
  if (memory) TRY(set_memory(dir, *memory));
  if (swap && !swap_first) TRY(write_control(dir, swap_file, number(*swap)));
  if (limits.memory_reservation)
    TRY(write_control(dir, "memory.soft_limit_in_bytes", number(*limits.memory_reservation)));
  if (limits.memory_swappiness) TRY(write_control(dir, "memory.swappiness", std::to_string(*limits.memory_swappiness)));
  if (limits.oom_kill_disable) TRY(write_control(dir, "memory.oom_control", "1"));
  const char* tcp = "memory.kmem.tcp.limit_in_bytes";
  if (limits.memory_kernel_tcp && path_exists(dir + "/" + tcp))
    TRY(write_control(dir, tcp, number(*limits.memory_kernel_tcp)));
  return {};
}

Result<> apply_shares(const std::string& dir, uint64_t shares) {
  // The kernel would take the nearest value it has and say nothing.
  constexpr uint64_t kLowest = 2, kHighest = 262144;
  if (shares > kHighest)
    return fail(ErrorKind::kInvalid, "the maximum allowed cpu-shares is %lu", static_cast<unsigned long>(kHighest));
  if (shares < kLowest)
    return fail(ErrorKind::kInvalid, "the minimum allowed cpu-shares is %lu", static_cast<unsigned long>(kLowest));
  return write_control(dir, "cpu.shares", std::to_string(shares));
}

Result<> apply_quota(const std::string& dir, const CgroupLimits& limits) {
  // The new period or burst may not fit the old quota: once more after the quota, then.
  Result<> period, burst;
  auto set_period = [&] { return write_control(dir, "cpu.cfs_period_us", std::to_string(*limits.cpu_period)); };
  auto set_burst = [&]() -> Result<> {
    auto done = write_control(dir, "cpu.cfs_burst_us", std::to_string(*limits.cpu_burst));
    // COMPAT(linux<5.14): no such file; a burst of 0 is what there is.
    if (!done && done.error().err == ENOENT && *limits.cpu_burst == 0) return {};
    return done;
  };
  if (limits.cpu_period) period = set_period();
  if (limits.cpu_burst) burst = set_burst();
  if (limits.cpu_quota) TRY(write_control(dir, "cpu.cfs_quota_us", number(std::max<int64_t>(*limits.cpu_quota, -1))));
  if (!period) TRY(set_period());
  if (!burst) TRY(set_burst());
  return {};
}

Result<> apply_cpu(const CgroupPaths& paths, const CgroupLimits& limits) {
  if (limits.cpu_shares || limits.cpu_quota || limits.cpu_period || limits.cpu_burst || limits.cpu_idle ||
      limits.cpu_realtime_period || limits.cpu_realtime_runtime) {
    std::string dir = TRY(need(paths, "cpu", "cpu limit"));
    if (limits.cpu_shares) TRY(apply_shares(dir, *limits.cpu_shares));
    if (limits.cpu_realtime_period)
      TRY(write_control(dir, "cpu.rt_period_us", std::to_string(*limits.cpu_realtime_period)));
    if (limits.cpu_realtime_runtime) TRY(write_control(dir, "cpu.rt_runtime_us", number(*limits.cpu_realtime_runtime)));
    TRY(apply_quota(dir, limits));
    if (limits.cpu_idle) TRY(write_control(dir, "cpu.idle", number(*limits.cpu_idle)));
  }
  if (!limits.cpuset_cpus.empty() || !limits.cpuset_mems.empty()) {
    std::string dir = TRY(need(paths, "cpuset", "cpuset"));
    if (!limits.cpuset_cpus.empty()) TRY(write_control(dir, "cpuset.cpus", limits.cpuset_cpus));
    if (!limits.cpuset_mems.empty()) TRY(write_control(dir, "cpuset.mems", limits.cpuset_mems));
  }
  return {};
}

Result<> apply_blkio(const CgroupPaths& paths, const CgroupLimits& limits) {
  struct Throttle {
    const char* file;
    const std::vector<BlockThrottle>& values;
  };
  const Throttle throttles[] = {{"blkio.throttle.read_bps_device", limits.read_bps},
                                {"blkio.throttle.write_bps_device", limits.write_bps},
                                {"blkio.throttle.read_iops_device", limits.read_iops},
                                {"blkio.throttle.write_iops_device", limits.write_iops}};
  bool wanted = limits.blkio_weight || limits.blkio_leaf_weight || !limits.blkio_weight_devices.empty() ||
                !limits.blkio_leaf_weight_devices.empty();
  for (const auto& throttle : throttles) wanted |= !throttle.values.empty();
  if (!wanted) return {};
  std::string dir = TRY(need(paths, "blkio", "block i/o limit"));
  bool bfq = path_exists(dir + "/blkio.bfq.weight");
  if (limits.blkio_weight)
    TRY(write_control(dir, bfq ? "blkio.bfq.weight" : "blkio.weight", std::to_string(*limits.blkio_weight)));
  for (const auto& device : limits.blkio_weight_devices)
    TRY(write_control(dir, bfq ? "blkio.bfq.weight_device" : "blkio.weight_device",
                      format("%ld:%ld %lu", device.major, device.minor, device.rate)));
  if (limits.blkio_leaf_weight) TRY(write_control(dir, "blkio.leaf_weight", std::to_string(*limits.blkio_leaf_weight)));
  for (const auto& device : limits.blkio_leaf_weight_devices)
    TRY(write_control(dir, "blkio.leaf_weight_device", format("%ld:%ld %lu", device.major, device.minor, device.rate)));
  for (const auto& throttle : throttles)
    for (const auto& device : throttle.values)
      TRY(write_control(dir, throttle.file, format("%ld:%ld %lu", device.major, device.minor, device.rate)));
  return {};
}

std::string device_text(const DeviceRule& rule) {
  if (rule.type == 'a') return "a";
  auto part = [](int64_t value) { return value < 0 ? std::string("*") : std::to_string(value); };
  std::string text = format("%c %s:%s ", rule.type, part(rule.major).c_str(), part(rule.minor).c_str());
  if (rule.read) text += 'r';
  if (rule.write) text += 'w';
  if (rule.mknod) text += 'm';
  return text;
}

Result<> apply_devices(const CgroupPaths& paths, const CgroupLimits& limits) {
  if (limits.devices.empty()) return {};
  std::string dir = TRY(need(paths, "devices", "device rules"));
  auto allow = TRY(open_file(dir + "/devices.allow", O_WRONLY));
  auto deny = TRY(open_file(dir + "/devices.deny", O_WRONLY));
  for (const auto& rule : limits.devices)
    TRY_CTX(write_all(rule.allow ? allow.get() : deny.get(), device_text(rule)),
            "device rule '" + device_text(rule) + "'");
  return {};
}

Result<> apply_huge_pages(const CgroupPaths& paths, const CgroupLimits& limits) {
  for (const auto& pages : limits.huge_pages) {
    std::string dir = TRY(need(paths, "hugetlb", "huge page limit"));
    TRY(write_control(dir, "hugetlb." + pages.page_size + ".limit_in_bytes", std::to_string(pages.limit)));
    // Pages that are mapped but not touched yet: counted apart. COMPAT(linux<5.7): not counted.
    auto reserved =
        write_control(dir, "hugetlb." + pages.page_size + ".rsvd.limit_in_bytes", std::to_string(pages.limit));
    if (!reserved && reserved.error().err != ENOENT) return reserved;
  }
  return {};
}

Result<> apply_network(const CgroupPaths& paths, const CgroupLimits& limits) {
  if (limits.net_class_id) {
    std::string dir = TRY(need(paths, "net_cls", "network class"));
    TRY(write_control(dir, "net_cls.classid", std::to_string(*limits.net_class_id)));
  }
  for (const auto& [name, priority] : limits.net_priorities) {
    std::string dir = TRY(need(paths, "net_prio", "network priority"));
    TRY(write_control(dir, "net_prio.ifpriomap", name + " " + std::to_string(priority)));
  }
  return {};
}

}  // namespace

Result<> inherit_cpuset(const std::string& parent, const std::string& dir) {
  for (const char* file : {"cpuset.cpus", "cpuset.mems"}) {
    auto own = TRY(read_file(dir + "/" + file, 65536));
    if (!trim(own).empty()) continue;
    auto value = TRY(read_file(parent + "/" + file, 65536));
    TRY(write_control(dir, file, std::string(trim(value))));
  }
  return {};
}

Result<> apply_v1(const CgroupPaths& paths, const CgroupLimits& limits, bool rootless) {
  if (!limits.unified.empty())
    return fail(ErrorKind::kUnsupported, "invalid configuration: cannot use unified on cgroup v1");
  TRY(apply_memory(paths, limits));
  TRY(apply_cpu(paths, limits));
  if (limits.pids) {
    std::string dir = TRY(need(paths, "pids", "pids limit"));
    TRY(write_control(dir, "pids.max", *limits.pids > 0 ? number(*limits.pids) : "max"));
  }
  TRY(apply_blkio(paths, limits));
  TRY(apply_huge_pages(paths, limits));
  TRY(apply_network(paths, limits));
  for (const auto& limit : limits.rdma)
    TRY(write_control(TRY(need(paths, "rdma", "rdma limit")), "rdma.max", rdma_text(limit)));
  return excuse_devices(apply_devices(paths, limits), rootless);
}

Result<> freeze_v1(const std::string& dir, bool frozen) {
  const char* wanted = frozen ? "FROZEN" : "THAWED";
  int64_t deadline = monotonic_ns() + 2000000000;
  for (;;) {
    // Written again each time: a task that forked while freezing can leave the group in FREEZING.
    TRY(write_control(dir, "freezer.state", wanted));
    auto state = TRY(read_file(dir + "/freezer.state", 64));
    if (trim(state) == wanted) return {};
    if (monotonic_ns() > deadline) {
      (void)write_control(dir, "freezer.state", "THAWED");
      return fail(ErrorKind::kTimeout, "cgroup '%s' is not %s after 2 s", dir.c_str(), wanted);
    }
    timespec pause{0, 1000000};
    nanosleep(&pause, nullptr);
  }
}

}  // namespace caisson::sys::detail
