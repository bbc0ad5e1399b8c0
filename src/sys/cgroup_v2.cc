// SPDX-License-Identifier: Apache-2.0
// The files of the v2 tree (Documentation/admin-guide/cgroup-v2.rst), fed with the OCI spec's v1 words.
#include <fcntl.h>
#include <time.h>

#include <algorithm>

#include "base/clock.h"
#include "base/text.h"
#include "sys/cgroup_internal.h"
#include "sys/device_filter.h"
#include "sys/files.h"

namespace caisson::sys::detail {

namespace {

std::string limit_text(int64_t value) { return value < 0 ? "max" : std::to_string(value); }

// A missing file means that the controller is not enabled here.
Result<> set(const std::string& dir, const char* file, const std::string& value) {
  auto done = write_control(dir, file, value);
  if (!done && done.error().err == ENOENT)
    return fail(ErrorKind::kUnsupported, "this host's cgroups do not offer '%s'", file);
  return done;
}

Result<> apply_memory(const std::string& dir, const CgroupLimits& limits) {
  // DOCKER-QUIRK: memory+swap is one number in the spec; v2 counts swap alone. Swap equal to memory: none.
  if (limits.memory_swap) {
    int64_t swap = *limits.memory_swap;
    if (swap >= 0) {
      if (!limits.memory || *limits.memory < 0)
        return fail(ErrorKind::kInvalid, "memory plus swap is limited, but memory is not");
      if (swap < *limits.memory) return fail(ErrorKind::kInvalid, "memory plus swap is less than memory");
      swap -= *limits.memory;
    }
    auto done = set(dir, "memory.swap.max", limit_text(swap));
    // Without swap accounting "none" cannot be said and need not be.
    if (!done && !(swap == 0 && done.error().kind == ErrorKind::kUnsupported)) return done;
  }
  if (limits.memory) TRY(set(dir, "memory.max", limit_text(*limits.memory)));
  if (limits.memory_reservation) TRY(set(dir, "memory.low", limit_text(*limits.memory_reservation)));
  return {};
}

Result<> apply_cpu(const std::string& dir, const CgroupLimits& limits) {
  if (limits.cpu_shares && *limits.cpu_shares) {
    // 2..262144 onto 1..10000, the mapping every runtime uses.
    uint64_t shares = std::clamp<uint64_t>(*limits.cpu_shares, 2, 262144);
    TRY(set(dir, "cpu.weight", std::to_string(1 + (shares - 2) * 9999 / 262142)));
  }
  if (limits.cpu_quota || limits.cpu_period) {
    std::string quota = limits.cpu_quota && *limits.cpu_quota > 0 ? std::to_string(*limits.cpu_quota) : "max";
    TRY(set(dir, "cpu.max", quota + " " + std::to_string(limits.cpu_period.value_or(100000))));
  }
  if (limits.cpu_realtime_runtime.value_or(0) > 0) return fail(ErrorKind::kUnsupported, "realtime cpu limits need cgroup v1");
  if (!limits.cpuset_cpus.empty()) TRY(set(dir, "cpuset.cpus", limits.cpuset_cpus));
  if (!limits.cpuset_mems.empty()) TRY(set(dir, "cpuset.mems", limits.cpuset_mems));
  return {};
}

Result<> apply_io(const std::string& dir, const CgroupLimits& limits) {
  bool bfq = path_exists(dir + "/io.bfq.weight");
  auto weight = [bfq](uint64_t blkio) {
    return bfq ? blkio : 1 + (std::clamp<uint64_t>(blkio, 10, 1000) - 10) * 9999 / 990;
  };
  const char* file = bfq ? "io.bfq.weight" : "io.weight";
  if (limits.blkio_weight && *limits.blkio_weight) TRY(set(dir, file, std::to_string(weight(*limits.blkio_weight))));
  for (const auto& device : limits.blkio_weight_devices)
    TRY(set(dir, file, format("%ld:%ld %lu", device.major, device.minor, weight(device.rate))));
  struct Throttle {
    const char* key;
    const std::vector<BlockThrottle>& values;
  };
  const Throttle throttles[] = {{"rbps", limits.read_bps}, {"wbps", limits.write_bps}, {"riops", limits.read_iops}, {"wiops", limits.write_iops}};
  for (const auto& throttle : throttles)
    for (const auto& device : throttle.values)
      TRY(set(dir, "io.max", format("%ld:%ld %s=%lu", device.major, device.minor, throttle.key, device.rate)));
  return {};
}

bool safe_file_name(const std::string& name) { return !name.empty() && name.find('/') == std::string::npos && name[0] != '.'; }

}  // namespace

Result<> apply_v2(const std::string& dir, const CgroupLimits& limits) {
  TRY(apply_memory(dir, limits));
  TRY(apply_cpu(dir, limits));
  if (limits.pids) TRY(set(dir, "pids.max", *limits.pids > 0 ? std::to_string(*limits.pids) : "max"));
  TRY(apply_io(dir, limits));
  for (const auto& pages : limits.huge_pages) TRY(set(dir, ("hugetlb." + pages.page_size + ".max").c_str(), std::to_string(pages.limit)));
  for (const auto& [name, value] : limits.unified) {
    if (!safe_file_name(name)) return fail(ErrorKind::kInvalid, "unified cgroup setting %s is not a file name", quoted(name).c_str());
    TRY(set(dir, name.c_str(), value));
  }
  if (!limits.devices.empty()) {
    auto program = TRY(load_device_filter(limits.devices));
    auto group = TRY(open_file(dir, O_RDONLY | O_DIRECTORY));
    TRY(attach_device_filter(program.get(), group.get()));
  }
  return {};
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

CgroupStats stats_v2(const std::string& dir) {
  CgroupStats out;
  out.memory_usage = read_number(dir, "memory.current").value_or(0);
  out.memory_max_usage = read_number(dir, "memory.peak").value_or(0);
  out.memory_limit = read_number(dir, "memory.max").value_or(UINT64_MAX);
  out.memory_stat = read_pairs(dir, "memory.stat");
  for (auto& [key, value] : read_pairs(dir, "memory.events")) {
    if (key == "max") out.memory_fail_count = value;
    if (key == "oom_kill") out.oom_kills = value;
  }
  for (auto& [key, value] : read_pairs(dir, "cpu.stat")) {
    if (key == "usage_usec") out.cpu_total_ns = value * 1000;
    if (key == "user_usec") out.cpu_user_ns = value * 1000;
    if (key == "system_usec") out.cpu_system_ns = value * 1000;
    if (key == "nr_periods") out.cpu_periods = value;
    if (key == "nr_throttled") out.cpu_throttled_periods = value;
    if (key == "throttled_usec") out.cpu_throttled_ns = value * 1000;
  }
  out.pids_current = read_number(dir, "pids.current").value_or(0);
  out.pids_limit = read_number(dir, "pids.max").value_or(UINT64_MAX);
  if (auto text = read_file(dir + "/io.stat", 1 << 20))
    for (auto& line : split(*text, '\n')) {
      auto fields = split(line, ' ');  // "8:0 rbytes=1 wbytes=2 rios=3 wios=4"
      auto device = split_once(fields[0], ':');
      if (!device) continue;
      BlockStat stat{parse_uint(device->first).value_or(0), parse_uint(device->second).value_or(0)};
      for (auto& field : fields) {
        auto pair = split_once(field, '=');
        uint64_t value = pair ? parse_uint(pair->second).value_or(0) : 0;
        if (!pair) continue;
        if (pair->first == "rbytes") stat.read_bytes = value;
        if (pair->first == "wbytes") stat.write_bytes = value;
        if (pair->first == "rios") stat.read_ops = value;
        if (pair->first == "wios") stat.write_ops = value;
      }
      out.block.push_back(stat);
    }
  return out;
}

}  // namespace caisson::sys::detail
