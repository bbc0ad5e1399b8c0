// SPDX-License-Identifier: Apache-2.0
// The counters of the v2 tree.
#include "base/text.h"
#include "sys/cgroup_internal.h"
#include "sys/files.h"

namespace caisson::sys::detail {

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
