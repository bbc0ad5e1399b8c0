// SPDX-License-Identifier: Apache-2.0
// All counters of a group, as `events --stats` tells them. What an engine asks every second is the much
// cheaper CgroupStats.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sys/cgroup.h"

namespace caisson::sys {

struct MemoryCounter {
  uint64_t usage = 0, max_usage = 0, fail_count = 0;
  uint64_t limit = 0;  // UINT64_MAX: none
};

struct BlockCounter {
  uint64_t major = 0, minor = 0;
  std::string operation;  // "Read", "Write", "Sync", "Async", "Discard", "Total"; v2: "Read", "Write"
  uint64_t value = 0;
};

struct PressureLine {
  double avg10 = 0, avg60 = 0, avg300 = 0;
  uint64_t total_us = 0;
};
struct Pressure {
  PressureLine some, full;
};

struct CgroupDetails {
  CgroupStats basic;
  uint64_t cpu_user_ns = 0, cpu_kernel_ns = 0;
  std::vector<uint64_t> per_cpu_user_ns, per_cpu_kernel_ns;  // v1
  uint64_t cpu_bursts = 0, cpu_burst_ns = 0;
  MemoryCounter memory, swap, kernel, kernel_tcp;  // swap counts memory too, on v2 as well
  uint64_t memory_cache = 0;
  bool memory_hierarchy = false;  // v1: memory.use_hierarchy; v2: always
  // cpuset, v1; lists unfolded.
  std::vector<uint16_t> cpus, mems;
  std::map<std::string, uint64_t> cpuset_flags;  // "cpu_exclusive", "mem_migrate", ... as in the files' names
  // Which of the block layer's counters, by the file's name without prefix and suffix: "io_service_bytes",
  // "io_serviced", "io_queued", "io_service_time", "io_wait_time", "io_merged", "time", "sectors".
  std::map<std::string, std::vector<BlockCounter>> block;
  std::map<std::string, MemoryCounter> huge_pages;                     // by page size
  std::optional<Pressure> cpu_pressure, memory_pressure, io_pressure;  // v2
};
Result<CgroupDetails> read_cgroup_details(const CgroupPaths& paths);

// "0-2,7" -> 0 1 2 7; nullopt when malformed or with a number above 65535.
std::optional<std::vector<uint16_t>> parse_cpu_list(std::string_view text);
// The file of PSI; nullopt when malformed.
std::optional<Pressure> parse_pressure(std::string_view text);

}  // namespace caisson::sys
