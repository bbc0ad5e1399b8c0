// SPDX-License-Identifier: Apache-2.0
#include "engine/stats.h"

#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/text.h"
#include "sys/files.h"
#include "sys/process.h"

namespace caisson::engine {

namespace {

std::vector<std::string> words(std::string_view line) {
  std::vector<std::string> out;
  for (auto& word : split(line, ' '))
    if (!word.empty()) out.push_back(std::move(word));
  return out;
}

uint64_t host_memory() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

void fill_block(const sys::CgroupStats& from, bool v2, spec::BlkioStats& out) {
  // DOCKER-QUIRK: v1 spells the operations as the kernel does, v2 small and without counts of operations.
  const char *read = v2 ? "read" : "Read", *write = v2 ? "write" : "Write";
  for (const auto& device : from.block) {
    out.service_bytes.push_back({device.major, device.minor, read, device.read_bytes});
    out.service_bytes.push_back({device.major, device.minor, write, device.write_bytes});
    if (v2) continue;
    out.serviced.push_back({device.major, device.minor, read, device.read_ops});
    out.serviced.push_back({device.major, device.minor, write, device.write_ops});
  }
}

}  // namespace

std::map<std::string, spec::NetworkStats> parse_net_dev(std::string_view text) {
  std::map<std::string, spec::NetworkStats> out;
  for (const auto& line : split(text, '\n')) {
    auto parts = split_once(line, ':');
    if (!parts) continue;
    auto numbers = words(parts->second);
    std::string name(trim(parts->first));
    if (numbers.size() < 16 || name == "lo") continue;
    auto at = [&](size_t index) { return parse_uint(numbers[index]).value_or(0); };
    out[name] = {at(0), at(1), at(2), at(3), at(8), at(9), at(10), at(11)};
  }
  return out;
}

HostCpu parse_proc_stat(std::string_view text) {
  HostCpu out;
  constexpr uint64_t kTickNs = 10'000'000;  // USER_HZ is 100 everywhere
  for (const auto& line : split(text, '\n')) {
    if (!line.starts_with("cpu")) break;
    auto fields = words(line);
    if (fields[0] != "cpu") {
      ++out.online;
      continue;
    }
    // user, nice, system, idle, iowait, irq, softirq: Docker's sum.
    for (size_t i = 1; i < std::min<size_t>(fields.size(), 8); ++i)
      out.total_ns += parse_uint(fields[i]).value_or(0) * kTickNs;
  }
  return out;
}

spec::ContainerStats sample_stats(const ContainerRecord& record, const sys::CgroupSystem& cgroups) {
  spec::ContainerStats out;
  out.name = "/" + record.name;
  out.id = record.id;
  out.read = out.pre_read = std::string(kZeroTime);
  if (!record.running()) return out;
  auto paths = sys::cgroup_paths(cgroups, record.cgroup_path);
  auto stats = sys::read_cgroup_stats(paths);
  // It has just ended.
  if (!stats || (stats->cpu_total_ns == 0 && stats->pids_current == 0)) return out;
  out.read = format_rfc3339(now_ns());
  out.pids.current = stats->pids_current;
  if (stats->pids_limit != UINT64_MAX || paths.v2) out.pids.limit = stats->pids_limit;
  fill_block(*stats, paths.v2, out.blkio);
  out.cpu.usage = {stats->cpu_total_ns, stats->cpu_per_cpu_ns, stats->cpu_system_ns, stats->cpu_user_ns};
  out.cpu.throttling = {stats->cpu_periods, stats->cpu_throttled_periods, stats->cpu_throttled_ns};
  if (auto text = sys::read_file("/proc/stat", 4 << 20)) {
    auto host = parse_proc_stat(*text);
    out.cpu.system_usage = host.total_ns;
    out.cpu.online_cpus = host.online;
  }
  out.memory.usage = stats->memory_usage;
  if (!paths.v2) {
    out.memory.max_usage = stats->memory_max_usage;
    out.memory.fail_count = stats->memory_fail_count;
  }
  out.memory.limit = std::min(stats->memory_limit, host_memory());
  out.memory.stats.insert(stats->memory_stat.begin(), stats->memory_stat.end());
  const std::string& mode = record.host_config.network_mode;
  auto started = sys::process_start_time(static_cast<pid_t>(record.pid));
  if (mode != "host" && started && *started == static_cast<uint64_t>(record.pid_start_time))
    if (auto text = sys::read_file(format("/proc/%lld/net/dev", static_cast<long long>(record.pid)), 1 << 20))
      out.networks = parse_net_dev(*text);
  return out;
}

}  // namespace caisson::engine
