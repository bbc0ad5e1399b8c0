// SPDX-License-Identifier: Apache-2.0
// The counters of the v1 controllers.
#include <algorithm>

#include "base/text.h"
#include "sys/cgroup_internal.h"
#include "sys/files.h"

namespace caisson::sys::detail {

namespace {

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
    read_block(*dir, "blkio.throttle.io_service_bytes_recursive", &BlockStat::read_bytes, &BlockStat::write_bytes,
               out.block);
    read_block(*dir, "blkio.throttle.io_serviced_recursive", &BlockStat::read_ops, &BlockStat::write_ops, out.block);
  }
  return out;
}

}  // namespace caisson::sys::detail
