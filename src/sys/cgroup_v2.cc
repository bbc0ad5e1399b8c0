// SPDX-License-Identifier: Apache-2.0
// The files of the v2 tree (Documentation/admin-guide/cgroup-v2.rst), fed with the OCI spec's v1 words.
#include <fcntl.h>
#include <time.h>

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "sys/cgroup_internal.h"
#include "sys/device_filter.h"
#include "sys/files.h"

namespace caisson::sys::detail {

namespace {

bool controller_enabled(const std::string& dir, const std::string& name) {
  auto text = read_file(dir + "/cgroup.controllers", 4096);
  if (!text) return true;
  auto names = split(trim(*text), ' ');
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string limit_text(int64_t value) { return value < 0 ? "max" : std::to_string(value); }

// A missing file means that the controller is not enabled here.
Result<> set(const std::string& dir, const char* file, const std::string& value) {
  auto done = write_control(dir, file, value);
  if (!done && done.error().err == ENOENT)
    return fail(ErrorKind::kUnsupported, "this host's cgroups do not offer '%s'", file);
  return done;
}

// Memory plus swap is one number in the spec; v2 counts swap alone. Swap equal to memory: none.
// nullopt: leave it alone.
Result<std::optional<int64_t>> swap_alone(const std::string& dir, const CgroupLimits& limits, bool update) {
  if (!limits.memory_swap) return limits.memory == -1 ? std::optional<int64_t>(-1) : std::nullopt;
  int64_t swap = *limits.memory_swap;
  if (swap < 0) return -1;
  auto memory = limits.memory;
  if (!memory && update) {
    auto now = read_number(dir, "memory.max");
    if (now) memory = *now == UINT64_MAX ? -1 : static_cast<int64_t>(*now);
  }
  if (!memory) return fail(ErrorKind::kInvalid, "unable to set swap limit without memory limit");
  // Beside unlimited memory there is nothing to subtract.
  if (*memory < 0) return swap;
  if (swap < *memory) return fail(ErrorKind::kInvalid, "memory+swap limit should be >= memory limit");
  return swap - *memory;
}

Result<> apply_memory(const std::string& dir, const CgroupLimits& limits, bool update) {
  if (limits.memory_swappiness || limits.oom_kill_disable)
    log_debug("swappiness and disableOOMKiller need cgroup v1, ignoring");
  TRY(check_memory_usage(dir, "memory.current", limits));
  if (auto swap = TRY(swap_alone(dir, limits, update))) {
    auto done = set(dir, "memory.swap.max", limit_text(*swap));
    // Without swap accounting there is no swap to limit: "none" and "as much as you like" hold anyway.
    if (!done && !(*swap <= 0 && done.error().kind == ErrorKind::kUnsupported)) return done;
  }
  if (limits.memory) TRY(set(dir, "memory.max", limit_text(*limits.memory)));
  if (limits.memory_reservation) TRY(set(dir, "memory.low", limit_text(*limits.memory_reservation)));
  return {};
}

Result<> set_quota(const std::string& dir, const CgroupLimits& limits) {
  // The new burst may not fit the old quota: once more after the quota, then.
  Result<> burst;
  auto set_burst = [&] { return set(dir, "cpu.max.burst", std::to_string(*limits.cpu_burst)); };
  if (limits.cpu_burst) burst = set_burst();
  if (limits.cpu_quota || limits.cpu_period) {
    std::string quota = "max";
    if (limits.cpu_quota && *limits.cpu_quota > 0) {
      quota = std::to_string(*limits.cpu_quota);
    } else if (!limits.cpu_quota) {
      // Both are in one file: a period alone keeps the quota.
      auto now = read_file(dir + "/cpu.max", 256);
      if (now) quota = split(trim(*now), ' ').front();
    }
    if (limits.cpu_period) quota += " " + std::to_string(*limits.cpu_period);
    TRY(set(dir, "cpu.max", quota));
  }
  if (!burst) TRY(set_burst());
  return {};
}

Result<> apply_cpu(const std::string& dir, const CgroupLimits& limits) {
  if (limits.cpu_idle) TRY(set(dir, "cpu.idle", std::to_string(*limits.cpu_idle)));
  if (limits.cpu_shares && *limits.cpu_shares)
    TRY(set(dir, "cpu.weight", std::to_string(cpu_weight_of_shares(*limits.cpu_shares))));
  TRY(set_quota(dir, limits));
  if (limits.cpu_realtime_runtime.value_or(0) > 0)
    return fail(ErrorKind::kUnsupported, "realtime cpu limits need cgroup v1");
  if (!limits.cpuset_cpus.empty()) TRY(set(dir, "cpuset.cpus", limits.cpuset_cpus));
  if (!limits.cpuset_mems.empty()) TRY(set(dir, "cpuset.mems", limits.cpuset_mems));
  return {};
}

Result<> apply_io(const std::string& dir, const CgroupLimits& limits) {
  if (limits.blkio_leaf_weight || !limits.blkio_leaf_weight_devices.empty())
    log_debug("leafWeight needs cgroup v1, ignoring");
  bool bfq = path_exists(dir + "/io.bfq.weight");
  auto weight = [bfq](uint64_t blkio) { return bfq ? blkio : io_weight_of_blkio(blkio); };
  const char* file = bfq ? "io.bfq.weight" : "io.weight";
  if (limits.blkio_weight && *limits.blkio_weight) TRY(set(dir, file, std::to_string(weight(*limits.blkio_weight))));
  for (const auto& device : limits.blkio_weight_devices)
    TRY(set(dir, file, format("%ld:%ld %lu", device.major, device.minor, weight(device.rate))));
  struct Throttle {
    const char* key;
    const std::vector<BlockThrottle>& values;
  };
  const Throttle throttles[] = {
      {"rbps", limits.read_bps}, {"wbps", limits.write_bps}, {"riops", limits.read_iops}, {"wiops", limits.write_iops}};
  for (const auto& throttle : throttles)
    for (const auto& device : throttle.values)
      TRY(set(dir, "io.max",
              format("%ld:%ld %s=%s", device.major, device.minor, throttle.key,
                     device.rate ? std::to_string(device.rate).c_str() : "max")));
  return {};
}

// By line, as some files take one setting per write.
Result<> set_unified(const std::string& dir, const std::string& name, const std::string& value) {
  if (name.empty() || name[0] == '.' || name.find('/') != std::string::npos)
    return fail(ErrorKind::kInvalid, "unified resource %s must be a file name (no slashes)", quoted(name).c_str());
  auto controller = split_once(name, '.');
  if (!controller)
    return fail(ErrorKind::kInvalid, "unified resource %s must be in the form CONTROLLER.PARAMETER",
                quoted(name).c_str());
  for (auto& line : split(value, '\n')) {
    if (line.empty() && line.size() != value.size()) continue;
    auto done = write_control(dir, name, line);
    if (done) continue;
    if (done.error().err == ENOENT && controller->first != "cgroup" && !controller_enabled(dir, controller->first))
      return fail(ErrorKind::kUnsupported, "unified resource %s can't be set: controller %s not available",
                  quoted(name).c_str(), quoted(controller->first).c_str());
    return with_context(std::move(done).error(), "unable to set unified resource " + quoted(name));
  }
  return {};
}

Result<> apply_devices(const std::string& dir, const std::vector<DeviceRule>& rules) {
  if (rules.empty()) return {};
  auto program = TRY(load_device_filter(rules));
  auto group = TRY(open_file(dir, O_RDONLY | O_DIRECTORY));
  return attach_device_filter(program.get(), group.get());
}

}  // namespace

Result<> apply_v2(const std::string& dir, const CgroupLimits& limits, bool rootless, bool update) {
  TRY(apply_memory(dir, limits, update));
  TRY(apply_cpu(dir, limits));
  if (limits.pids) TRY(set(dir, "pids.max", *limits.pids > 0 ? std::to_string(*limits.pids) : "max"));
  TRY(apply_io(dir, limits));
  for (const auto& pages : limits.huge_pages) {
    std::string prefix = "hugetlb." + pages.page_size;
    TRY(set(dir, (prefix + ".max").c_str(), std::to_string(pages.limit)));
    // COMPAT(linux<5.7): pages that are mapped but not touched are not counted.
    auto reserved = write_control(dir, prefix + ".rsvd.max", std::to_string(pages.limit));
    if (!reserved && reserved.error().err != ENOENT) return reserved;
  }
  for (const auto& limit : limits.rdma) TRY(set(dir, "rdma.max", rdma_text(limit)));
  if (limits.net_class_id || !limits.net_priorities.empty())
    log_debug("network classes and priorities need cgroup v1, ignoring");
  for (const auto& [name, value] : limits.unified) TRY(set_unified(dir, name, value));
  return excuse_devices(apply_devices(dir, limits.devices), rootless);
}

Result<> freeze_v2(const std::string& dir, bool frozen) {
  TRY(write_control(dir, "cgroup.freeze", frozen ? "1" : "0"));
  int64_t deadline = monotonic_ns() + 2000000000;
  for (;;) {
    for (auto& [key, value] : read_pairs(dir, "cgroup.events")) {
      if (key == "frozen" && value == static_cast<uint64_t>(frozen)) return {};
      // Killed while frozen, the last process leaves a group that may stay "frozen 1": nobody waits in it.
      if (!frozen && key == "populated" && value == 0) return {};
    }
    if (monotonic_ns() > deadline) {
      (void)write_control(dir, "cgroup.freeze", "0");
      return fail(ErrorKind::kTimeout, "cgroup '%s' is not %s after 2 s", dir.c_str(), frozen ? "frozen" : "thawed");
    }
    timespec pause{0, 1000000};
    nanosleep(&pause, nullptr);
  }
}

}  // namespace caisson::sys::detail

namespace caisson::sys {

uint64_t cpu_weight_of_shares(uint64_t shares) {
  return 1 + (std::clamp<uint64_t>(shares, 2, 262144) - 2) * 9999 / 262142;
}

uint64_t io_weight_of_blkio(uint64_t weight) { return 1 + (std::clamp<uint64_t>(weight, 10, 1000) - 10) * 9999 / 990; }

}  // namespace caisson::sys
