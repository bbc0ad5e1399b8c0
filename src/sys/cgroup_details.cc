// SPDX-License-Identifier: Apache-2.0
#include "sys/cgroup_details.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "sys/cgroup_internal.h"
#include "sys/files.h"

namespace caisson::sys {

namespace {

using detail::read_number;

MemoryCounter counter_v1(const std::string& dir, const std::string& prefix) {
  MemoryCounter out;
  out.usage = read_number(dir, prefix + ".usage_in_bytes").value_or(0);
  out.max_usage = read_number(dir, prefix + ".max_usage_in_bytes").value_or(0);
  out.fail_count = read_number(dir, prefix + ".failcnt").value_or(0);
  out.limit = read_number(dir, prefix + ".limit_in_bytes").value_or(0);
  return out;
}

std::vector<uint64_t> columns_of(const std::string& text, size_t column) {
  std::vector<uint64_t> out;
  for (auto& line : split(text, '\n')) {
    auto fields = split(line, ' ');
    if (fields.size() <= column || !parse_uint(fields[0])) continue;
    out.push_back(parse_uint(fields[column]).value_or(0));
  }
  return out;
}

void cpu_v1(const CgroupPaths& paths, CgroupDetails& out) {
  if (auto dir = paths.dir_of("cpuacct")) {
    out.cpu_user_ns = read_number(*dir, "cpuacct.usage_user").value_or(out.basic.cpu_user_ns);
    out.cpu_kernel_ns = read_number(*dir, "cpuacct.usage_sys").value_or(out.basic.cpu_system_ns);
    if (auto text = read_file(*dir + "/cpuacct.usage_all", 1 << 20)) {  // "cpu user system" lines
      out.per_cpu_user_ns = columns_of(*text, 1);
      out.per_cpu_kernel_ns = columns_of(*text, 2);
    }
  }
  if (auto dir = paths.dir_of("cpu"))
    for (auto& [key, value] : detail::read_pairs(*dir, "cpu.stat")) {
      if (key == "nr_bursts") out.cpu_bursts = value;
      if (key == "burst_time") out.cpu_burst_ns = value;
    }
}

void cpuset_v1(const std::string& dir, CgroupDetails& out) {
  for (auto [file, target] : {std::pair{"cpuset.cpus", &out.cpus}, {"cpuset.mems", &out.mems}})
    if (auto text = read_file(dir + "/" + file, 65536))
      *target = parse_cpu_list(trim(*text)).value_or(std::vector<uint16_t>{});
  for (const char* flag : {"cpu_exclusive", "mem_exclusive", "mem_hardwall", "memory_migrate", "memory_spread_page",
                           "memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level"})
    if (auto value = read_number(dir, std::string("cpuset.") + flag)) out.cpuset_flags[flag] = *value;
}

std::vector<BlockCounter> block_file(const std::string& path) {
  std::vector<BlockCounter> out;
  auto text = read_file(path, 1 << 20);
  if (!text) return out;
  for (auto& line : split(*text, '\n')) {
    auto fields = split(line, ' ');  // "8:0 Read 4096", "8:0 1", "Total 12"
    if (fields.size() < 2) continue;
    auto device = split_once(fields[0], ':');
    auto value = parse_uint(fields.back());
    if (!device || !value) continue;
    out.push_back({parse_uint(device->first).value_or(0), parse_uint(device->second).value_or(0),
                   fields.size() > 2 ? fields[1] : "", *value});
  }
  return out;
}

void block_v1(const std::string& dir, CgroupDetails& out) {
  for (const char* name : {"io_service_bytes", "io_serviced", "io_queued", "io_service_time", "io_wait_time",
                           "io_merged", "time", "sectors"}) {
    // Which files there are depends on the scheduler; the throttling layer counts whatever comes by.
    for (const char* prefix : {"blkio.bfq.", "blkio.", "blkio.throttle."}) {
      auto found = block_file(dir + "/" + prefix + name + "_recursive");
      bool nothing = std::all_of(found.begin(), found.end(), [](auto& c) { return c.value == 0; });
      if (nothing) continue;
      out.block[name] = std::move(found);
      break;
    }
  }
}

void details_v1(const CgroupPaths& paths, CgroupDetails& out) {
  cpu_v1(paths, out);
  if (auto dir = paths.dir_of("memory")) {
    out.memory = counter_v1(*dir, "memory");
    out.swap = counter_v1(*dir, "memory.memsw");
    out.kernel = counter_v1(*dir, "memory.kmem");
    out.kernel_tcp = counter_v1(*dir, "memory.kmem.tcp");
    out.memory_hierarchy = read_number(*dir, "memory.use_hierarchy").value_or(0) == 1;
    for (auto& [key, value] : out.basic.memory_stat)
      if (key == "cache") out.memory_cache = value;
  }
  if (auto dir = paths.dir_of("cpuset")) cpuset_v1(*dir, out);
  if (auto dir = paths.dir_of("blkio")) block_v1(*dir, out);
}

void memory_v2(const std::string& dir, CgroupDetails& out) {
  out.memory = {out.basic.memory_usage, out.basic.memory_max_usage, out.basic.memory_fail_count,
                out.basic.memory_limit};
  out.swap.usage = read_number(dir, "memory.swap.current").value_or(0) + out.memory.usage;
  out.swap.max_usage = read_number(dir, "memory.swap.peak").value_or(0);
  uint64_t limit = read_number(dir, "memory.swap.max").value_or(0);
  out.swap.limit = limit == UINT64_MAX || out.memory.limit == UINT64_MAX ? UINT64_MAX : limit + out.memory.limit;
  for (auto& [key, value] : detail::read_pairs(dir, "memory.swap.events"))
    if (key == "max") out.swap.fail_count = value;
  for (auto& [key, value] : out.basic.memory_stat)
    if (key == "file") out.memory_cache = value;
  out.memory_hierarchy = true;
}

void details_v2(const std::string& dir, CgroupDetails& out) {
  out.cpu_user_ns = out.basic.cpu_user_ns;
  out.cpu_kernel_ns = out.basic.cpu_system_ns;
  for (auto& [key, value] : detail::read_pairs(dir, "cpu.stat")) {
    if (key == "nr_bursts") out.cpu_bursts = value;
    if (key == "burst_usec") out.cpu_burst_ns = value * 1000;
  }
  memory_v2(dir, out);
  for (const auto& stat : out.basic.block) {
    auto& bytes = out.block["io_service_bytes"];
    bytes.push_back({stat.major, stat.minor, "Read", stat.read_bytes});
    bytes.push_back({stat.major, stat.minor, "Write", stat.write_bytes});
    auto& operations = out.block["io_serviced"];
    operations.push_back({stat.major, stat.minor, "Read", stat.read_ops});
    operations.push_back({stat.major, stat.minor, "Write", stat.write_ops});
  }
  for (auto [file, target] : {std::pair{"cpu.pressure", &out.cpu_pressure},
                              {"memory.pressure", &out.memory_pressure},
                              {"io.pressure", &out.io_pressure}})
    if (auto text = read_file(dir + "/" + file, 4096)) *target = parse_pressure(*text);
}

void huge_pages(const std::string& dir, bool v2, CgroupDetails& out) {
  auto names = list_dir(dir);
  if (!names) return;
  std::string end = v2 ? ".max" : ".limit_in_bytes";
  for (auto& name : *names) {
    if (!name.starts_with("hugetlb.") || !name.ends_with(end) || name.find(".rsvd.") != std::string::npos) continue;
    std::string prefix = name.substr(0, name.size() - end.size());
    std::string size = prefix.substr(8);
    if (!v2) {
      out.huge_pages[size] = counter_v1(dir, prefix);
      continue;
    }
    auto& counter = out.huge_pages[size];
    counter.usage = read_number(dir, prefix + ".current").value_or(0);
    counter.limit = read_number(dir, name).value_or(0);
    for (auto& [key, value] : detail::read_pairs(dir, prefix + ".events"))
      if (key == "max") counter.fail_count = value;
  }
}

std::optional<double> decimal(std::string_view text) {
  double value = 0;
  auto done = std::from_chars(text.data(), text.data() + text.size(), value);
  if (done.ec != std::errc() || done.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::vector<uint16_t>> parse_cpu_list(std::string_view text) {
  std::vector<uint16_t> out;
  if (trim(text).empty()) return out;
  for (auto& part : split(trim(text), ',')) {
    auto range = split_once(part, '-');
    auto first = parse_uint(range ? trim(range->first) : trim(part));
    auto last = range ? parse_uint(trim(range->second)) : first;
    if (!first || !last || *first > *last || *last > UINT16_MAX) return std::nullopt;
    for (uint64_t i = *first; i <= *last; ++i) out.push_back(static_cast<uint16_t>(i));
  }
  return out;
}

std::optional<Pressure> parse_pressure(std::string_view text) {
  Pressure out;
  bool any = false;
  for (auto& line : split(text, '\n')) {
    auto fields = split(trim(line), ' ');  // "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"
    if (fields.size() < 5 || (fields[0] != "some" && fields[0] != "full")) continue;
    auto& target = fields[0] == "some" ? out.some : out.full;
    for (auto& field : fields) {
      auto pair = split_once(field, '=');
      if (!pair) continue;
      if (pair->first == "total") target.total_us = parse_uint(pair->second).value_or(0);
      double* average = pair->first == "avg10"    ? &target.avg10
                        : pair->first == "avg60"  ? &target.avg60
                        : pair->first == "avg300" ? &target.avg300
                                                  : nullptr;
      if (average) *average = decimal(pair->second).value_or(0);
    }
    any = true;
  }
  return any ? std::optional(out) : std::nullopt;
}

Result<CgroupDetails> read_cgroup_details(const CgroupPaths& paths) {
  CgroupDetails out;
  out.basic = TRY(read_cgroup_stats(paths));
  if (paths.empty()) return out;
  if (paths.v2)
    details_v2(paths.dirs.front(), out);
  else
    details_v1(paths, out);
  if (auto dir = paths.v2 ? &paths.dirs.front() : paths.dir_of("hugetlb")) huge_pages(*dir, paths.v2, out);
  return out;
}

}  // namespace caisson::sys
