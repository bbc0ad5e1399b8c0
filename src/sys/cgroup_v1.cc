// SPDX-License-Identifier: Apache-2.0
// The files of the v1 controllers (Documentation/admin-guide/cgroup-v1).
#include <time.h>

#include <algorithm>

#include "base/clock.h"
#include "base/text.h"
#include "sys/cgroup_internal.h"
#include "sys/files.h"

namespace caisson::sys::detail {

namespace {

Result<std::string> need(const CgroupPaths& paths, const char* controller, const char* what) {
  if (auto dir = paths.dir_of(controller)) return *dir;
  return fail(ErrorKind::kUnsupported, "%s: this host has no '%s' cgroup", what, controller);
}

std::string number(int64_t value) { return std::to_string(value); }

Result<> apply_memory(const CgroupPaths& paths, const CgroupLimits& limits) {
  bool wanted = limits.memory || limits.memory_swap || limits.memory_reservation || limits.memory_swappiness || limits.oom_kill_disable;
  if (!wanted) return {};
  std::string dir = TRY(need(paths, "memory", "memory limit"));
  const char *limit = "memory.limit_in_bytes", *swap = "memory.memsw.limit_in_bytes";
  if (limits.memory && limits.memory_swap) {
    // memsw may never be below the limit, so the order depends on whether the limits grow or shrink.
    if (auto first = write_control(dir, limit, number(*limits.memory)); !first) {
      TRY(write_control(dir, swap, number(*limits.memory_swap)));
      TRY(write_control(dir, limit, number(*limits.memory)));
    } else {
      TRY(write_control(dir, swap, number(*limits.memory_swap)));
    }
  } else if (limits.memory) {
    TRY(write_control(dir, limit, number(*limits.memory)));
  } else if (limits.memory_swap) {
    TRY(write_control(dir, swap, number(*limits.memory_swap)));
  }
  if (limits.memory_reservation) TRY(write_control(dir, "memory.soft_limit_in_bytes", number(*limits.memory_reservation)));
  if (limits.memory_swappiness) TRY(write_control(dir, "memory.swappiness", std::to_string(*limits.memory_swappiness)));
  if (limits.oom_kill_disable) TRY(write_control(dir, "memory.oom_control", "1"));
  return {};
}

Result<> apply_cpu(const CgroupPaths& paths, const CgroupLimits& limits) {
  if (limits.cpu_shares || limits.cpu_quota || limits.cpu_period || limits.cpu_realtime_period || limits.cpu_realtime_runtime) {
    std::string dir = TRY(need(paths, "cpu", "cpu limit"));
    if (limits.cpu_shares) TRY(write_control(dir, "cpu.shares", std::to_string(*limits.cpu_shares)));
    if (limits.cpu_realtime_period) TRY(write_control(dir, "cpu.rt_period_us", std::to_string(*limits.cpu_realtime_period)));
    if (limits.cpu_realtime_runtime) TRY(write_control(dir, "cpu.rt_runtime_us", number(*limits.cpu_realtime_runtime)));
    Result<> period;
    if (limits.cpu_period) period = write_control(dir, "cpu.cfs_period_us", std::to_string(*limits.cpu_period));
    if (limits.cpu_quota) TRY(write_control(dir, "cpu.cfs_quota_us", number(*limits.cpu_quota)));
    // The old quota may not fit the new period.
    if (!period) TRY(write_control(dir, "cpu.cfs_period_us", std::to_string(*limits.cpu_period)));
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
  bool wanted = limits.blkio_weight || !limits.blkio_weight_devices.empty();
  for (const auto& throttle : throttles) wanted |= !throttle.values.empty();
  if (!wanted) return {};
  std::string dir = TRY(need(paths, "blkio", "block i/o limit"));
  bool bfq = path_exists(dir + "/blkio.bfq.weight");
  if (limits.blkio_weight)
    TRY(write_control(dir, bfq ? "blkio.bfq.weight" : "blkio.weight", std::to_string(*limits.blkio_weight)));
  for (const auto& device : limits.blkio_weight_devices)
    TRY(write_control(dir, bfq ? "blkio.bfq.weight_device" : "blkio.weight_device",
                      format("%ld:%ld %lu", device.major, device.minor, device.rate)));
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
  auto dir = paths.dir_of("devices");
  if (!dir) return fail(ErrorKind::kUnsupported, "device rules: this host has no 'devices' cgroup");
  auto allow = TRY(open_file(*dir + "/devices.allow", O_WRONLY));
  auto deny = TRY(open_file(*dir + "/devices.deny", O_WRONLY));
  for (const auto& rule : limits.devices) TRY(write_all(rule.allow ? allow.get() : deny.get(), device_text(rule)));
  return {};
}

void read_block(const std::string& dir, const char* file, uint64_t BlockStat::*read, uint64_t BlockStat::*write,
                std::vector<BlockStat>& out) {
  auto text = read_file(dir + "/" + file, 1 << 20);
  if (!text) return;
  for (auto& line : split(*text, '\n')) {
    auto fields = split(line, ' ');  // "8:0 Read 4096"
    if (fields.size() != 3) continue;
    auto device = split_once(fields[0], ':');
    auto value = parse_uint(fields[2]);
    if (!device || !value || (fields[1] != "Read" && fields[1] != "Write")) continue;
    uint64_t major = parse_uint(device->first).value_or(0), minor = parse_uint(device->second).value_or(0);
    auto found = std::find_if(out.begin(), out.end(), [&](auto& s) { return s.major == major && s.minor == minor; });
    if (found == out.end()) found = out.insert(out.end(), BlockStat{major, minor});
    (*found).*(fields[1] == "Read" ? read : write) = *value;
  }
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

Result<> apply_v1(const CgroupPaths& paths, const CgroupLimits& limits) {
  TRY(apply_memory(paths, limits));
  TRY(apply_cpu(paths, limits));
  if (limits.pids) {
    std::string dir = TRY(need(paths, "pids", "pids limit"));
    TRY(write_control(dir, "pids.max", *limits.pids > 0 ? number(*limits.pids) : "max"));
  }
  TRY(apply_blkio(paths, limits));
  for (const auto& pages : limits.huge_pages) {
    std::string dir = TRY(need(paths, "hugetlb", "huge page limit"));
    TRY(write_control(dir, "hugetlb." + pages.page_size + ".limit_in_bytes", std::to_string(pages.limit)));
  }
  if (!limits.unified.empty()) return fail(ErrorKind::kUnsupported, "unified cgroup settings need cgroup v2");
  return apply_devices(paths, limits);
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

CgroupStats stats_v1(const CgroupPaths& paths) {
  CgroupStats out;
  if (auto dir = paths.dir_of("memory")) {
    out.memory_usage = read_number(*dir, "memory.usage_in_bytes").value_or(0);
    out.memory_max_usage = read_number(*dir, "memory.max_usage_in_bytes").value_or(0);
    out.memory_limit = read_number(*dir, "memory.limit_in_bytes").value_or(UINT64_MAX);
    // "Unlimited" is a huge page-aligned number here.
    if (out.memory_limit >= (uint64_t{1} << 62)) out.memory_limit = UINT64_MAX;
    out.memory_fail_count = read_number(*dir, "memory.failcnt").value_or(0);
    out.memory_stat = read_pairs(*dir, "memory.stat");
    out.oom_kills = read_oom_kills(paths).value_or(0);
  }
  if (auto dir = paths.dir_of("cpuacct")) {
    out.cpu_total_ns = read_number(*dir, "cpuacct.usage").value_or(0);
    for (auto& [key, ticks] : read_pairs(*dir, "cpuacct.stat"))
      (key == "user" ? out.cpu_user_ns : out.cpu_system_ns) = ticks * 10000000;  // USER_HZ is 100 everywhere
    if (auto text = read_file(*dir + "/cpuacct.usage_percpu", 65536))
      for (auto& part : split(trim(*text), ' '))
        if (auto value = parse_uint(part)) out.cpu_per_cpu_ns.push_back(*value);
  }
  if (auto dir = paths.dir_of("cpu"))
    for (auto& [key, value] : read_pairs(*dir, "cpu.stat")) {
      if (key == "nr_periods") out.cpu_periods = value;
      if (key == "nr_throttled") out.cpu_throttled_periods = value;
      if (key == "throttled_time") out.cpu_throttled_ns = value;
    }
  if (auto dir = paths.dir_of("pids")) {
    out.pids_current = read_number(*dir, "pids.current").value_or(0);
    out.pids_limit = read_number(*dir, "pids.max").value_or(UINT64_MAX);
  }
  if (auto dir = paths.dir_of("blkio")) {
    read_block(*dir, "blkio.throttle.io_service_bytes_recursive", &BlockStat::read_bytes, &BlockStat::write_bytes, out.block);
    read_block(*dir, "blkio.throttle.io_serviced_recursive", &BlockStat::read_ops, &BlockStat::write_ops, out.block);
  }
  return out;
}

}  // namespace caisson::sys::detail
