// SPDX-License-Identifier: Apache-2.0
#include "stats.h"

#include <algorithm>
#include <span>

#include "base/text.h"
#include "sys/files.h"
#include "wire/json.h"

namespace caisson::oci {

namespace {

using json::Writer;

void member(Writer& out, const char* name, uint64_t value) {
  out.key(name);
  out.uint_number(value);
}
void member_unless_zero(Writer& out, const char* name, uint64_t value) {
  if (value) member(out, name, value);
}
void member(Writer& out, const char* name, std::span<const uint64_t> values) {
  if (values.empty()) return;
  out.key(name);
  out.begin_array();
  for (uint64_t value : values) out.uint_number(value);
  out.end_array();
}

// Absent files count as 0, "max" as the greatest number.
uint64_t number_in(const std::string& dir, const std::string& file) {
  auto text = sys::read_file(dir + "/" + file, 4096);
  if (!text) return 0;
  auto word = trim(*text);
  return word == "max" ? UINT64_MAX : parse_uint(word).value_or(0);
}

// "0-2,5" as single numbers.
std::vector<uint64_t> number_list(const std::string& dir, const char* file) {
  std::vector<uint64_t> out;
  auto text = sys::read_file(dir + "/" + file, 65536);
  if (!text) return out;
  for (const auto& part : split(trim(*text), ',')) {
    auto range = split_once(part, '-');
    auto first = parse_uint(range ? range->first : part), last = range ? parse_uint(range->second) : first;
    if (!first || !last || *last > 65535) continue;
    for (uint64_t i = *first; i <= *last; ++i) out.push_back(i);
  }
  return out;
}

void write_cpu(Writer& out, const sys::CgroupPaths& cgroup, const sys::CgroupStats& stats) {
  std::vector<uint64_t> kernel, user;
  if (const auto* dir = cgroup.v2 ? nullptr : cgroup.dir_of("cpuacct"))
    if (auto text = sys::read_file(*dir + "/cpuacct.usage_all", 1 << 20))
      for (const auto& line : split(*text, '\n')) {
        auto fields = split(line, ' ');  // "cpu user system", a heading first
        if (fields.size() != 3 || !parse_uint(fields[0])) continue;
        user.push_back(parse_uint(fields[1]).value_or(0));
        kernel.push_back(parse_uint(fields[2]).value_or(0));
      }
  out.key("cpu");
  out.begin_object();
  out.key("usage");
  out.begin_object();
  member_unless_zero(out, "total", stats.cpu_total_ns);
  member(out, "percpu", stats.cpu_per_cpu_ns);
  member(out, "percpu_kernel", kernel);
  member(out, "percpu_user", user);
  member(out, "kernel", stats.cpu_system_ns);
  member(out, "user", stats.cpu_user_ns);
  out.end_object();
  out.key("throttling");
  out.begin_object();
  member_unless_zero(out, "periods", stats.cpu_periods);
  member_unless_zero(out, "throttledPeriods", stats.cpu_throttled_periods);
  member_unless_zero(out, "throttledTime", stats.cpu_throttled_ns);
  out.end_object();
  out.end_object();
}

void write_cpuset(Writer& out, const sys::CgroupPaths& cgroup) {
  out.key("cpuset");
  out.begin_object();
  if (const auto* dir = cgroup.v2 ? nullptr : cgroup.dir_of("cpuset")) {
    member(out, "cpus", number_list(*dir, "cpuset.cpus"));
    member(out, "cpu_exclusive", number_in(*dir, "cpuset.cpu_exclusive"));
    member(out, "mems", number_list(*dir, "cpuset.mems"));
    for (const char* name : {"mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page",
                             "memory_spread_slab", "memory_pressure", "sched_load_balance"})
      member(out, name, number_in(*dir, std::string("cpuset.") + name));
    out.key("sched_relax_domain_level");
    auto level = sys::read_file(*dir + "/cpuset.sched_relax_domain_level", 64);
    out.int_number(level ? parse_int(trim(*level)).value_or(-1) : -1);
  }
  out.end_object();
}

void write_memory_entry(Writer& out, const char* name, const std::string& dir, const std::string& prefix) {
  out.key(name);
  out.begin_object();
  member(out, "limit", number_in(dir, prefix + ".limit_in_bytes"));
  member_unless_zero(out, "usage", number_in(dir, prefix + ".usage_in_bytes"));
  member_unless_zero(out, "max", number_in(dir, prefix + ".max_usage_in_bytes"));
  member(out, "failcnt", number_in(dir, prefix + ".failcnt"));
  out.end_object();
}

// v2 counts swap alone; readers expect memory and swap together, as v1 has it.
void write_memory_v2(Writer& out, const std::string& dir, const sys::CgroupStats& stats) {
  uint64_t swap = number_in(dir, "memory.swap.current"), swap_limit = number_in(dir, "memory.swap.max");
  bool unlimited = swap_limit == UINT64_MAX || stats.memory_limit == UINT64_MAX;
  struct Entry {
    const char* name;
    uint64_t limit, usage, max;
  };
  for (const auto& entry :
       {Entry{"usage", stats.memory_limit, stats.memory_usage, stats.memory_max_usage},
        Entry{"swap", unlimited ? UINT64_MAX : swap_limit + stats.memory_limit, swap + stats.memory_usage, 0},
        Entry{"kernel", 0, 0, 0}, Entry{"kernelTCP", 0, 0, 0}}) {
    out.key(entry.name);
    out.begin_object();
    member(out, "limit", entry.limit);
    member_unless_zero(out, "usage", entry.usage);
    member_unless_zero(out, "max", entry.max);
    member(out, "failcnt", 0);
    out.end_object();
  }
}

void write_memory(Writer& out, const sys::CgroupPaths& cgroup, const sys::CgroupStats& stats) {
  out.key("memory");
  out.begin_object();
  auto cache = std::find_if(stats.memory_stat.begin(), stats.memory_stat.end(),
                            [&](const auto& entry) { return entry.first == (cgroup.v2 ? "file" : "cache"); });
  if (cache != stats.memory_stat.end()) member_unless_zero(out, "cache", cache->second);
  if (const auto* dir = cgroup.v2 ? &cgroup.dirs.front() : cgroup.dir_of("memory")) {
    if (cgroup.v2) {
      write_memory_v2(out, *dir, stats);
    } else {
      write_memory_entry(out, "usage", *dir, "memory");
      write_memory_entry(out, "swap", *dir, "memory.memsw");
      write_memory_entry(out, "kernel", *dir, "memory.kmem");
      write_memory_entry(out, "kernelTCP", *dir, "memory.kmem.tcp");
    }
  }
  if (!stats.memory_stat.empty()) {
    out.key("raw");
    out.begin_object();
    for (const auto& [name, value] : stats.memory_stat) member(out, name.c_str(), value);
    out.end_object();
  }
  out.end_object();
}

void write_block_list(Writer& out, const char* name, const std::vector<sys::BlockStat>& block,
                      uint64_t sys::BlockStat::*read, uint64_t sys::BlockStat::*write) {
  if (block.empty()) return;
  out.key(name);
  out.begin_array();
  for (const auto& device : block)
    for (auto [op, value] : {std::pair{"Read", device.*read}, {"Write", device.*write}}) {
      out.begin_object();
      member_unless_zero(out, "major", device.major);
      member_unless_zero(out, "minor", device.minor);
      out.key("op");
      out.string(op);
      member_unless_zero(out, "value", value);
      out.end_object();
    }
  out.end_array();
}

void write_huge_pages(Writer& out, const sys::CgroupPaths& cgroup) {
  out.key("hugetlb");
  out.begin_object();
  const std::string suffix = cgroup.v2 ? ".current" : ".usage_in_bytes";
  if (const auto* dir = cgroup.v2 ? &cgroup.dirs.front() : cgroup.dir_of("hugetlb"))
    if (auto files = sys::list_dir(*dir))
      for (const auto& file : *files) {
        if (!file.starts_with("hugetlb.") || !file.ends_with(suffix) || file.find(".rsvd.") != std::string::npos)
          continue;
        std::string size = file.substr(8, file.size() - 8 - suffix.size());
        out.key(size);
        out.begin_object();
        member_unless_zero(out, "usage", number_in(*dir, file));
        if (!cgroup.v2) member_unless_zero(out, "max", number_in(*dir, "hugetlb." + size + ".max_usage_in_bytes"));
        member(out, "failcnt", cgroup.v2 ? 0 : number_in(*dir, "hugetlb." + size + ".failcnt"));
        out.end_object();
      }
  out.end_object();
}

}  // namespace

Result<std::string> stats_event(const std::string& id, const sys::CgroupPaths& cgroup) {
  auto stats = TRY(sys::read_cgroup_stats(cgroup));
  std::string text;
  Writer out(text);
  out.begin_object();
  out.key("type");
  out.string("stats");
  out.key("id");
  out.string(id);
  out.key("data");
  out.begin_object();
  write_cpu(out, cgroup, stats);
  write_cpuset(out, cgroup);
  write_memory(out, cgroup, stats);
  out.key("pids");
  out.begin_object();
  member_unless_zero(out, "current", stats.pids_current);
  if (stats.pids_limit != UINT64_MAX) member_unless_zero(out, "limit", stats.pids_limit);
  out.end_object();
  out.key("blkio");
  out.begin_object();
  write_block_list(out, "ioServiceBytesRecursive", stats.block, &sys::BlockStat::read_bytes,
                   &sys::BlockStat::write_bytes);
  write_block_list(out, "ioServicedRecursive", stats.block, &sys::BlockStat::read_ops, &sys::BlockStat::write_ops);
  out.end_object();
  write_huge_pages(out, cgroup);
  out.key("intel_rdt");
  out.raw("{}");
  out.key("network_interfaces");
  out.null();
  out.end_object();
  out.end_object();
  return text;
}

std::string oom_event(const std::string& id) { return "{\"type\":\"oom\",\"id\":" + json::quote(id) + "}"; }

}  // namespace caisson::oci
