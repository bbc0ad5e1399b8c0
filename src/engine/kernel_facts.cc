// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel_facts.h"

#include <algorithm>

#include "base/text.h"
#include "sys/files.h"

namespace caisson::engine {

namespace {

constexpr int kMostNumber = 8191;  // NR_CPUS of the largest configuration

std::string first_line(const std::string& path) {
  auto text = sys::read_file(path, 4096);
  return text ? std::string(trim(*text)) : "";
}

KernelFacts facts_of_v1(const sys::CgroupSystem& cgroups) {
  KernelFacts out;
  auto paths = sys::cgroup_paths(cgroups, "/");
  auto has = [&](const char* controller, std::initializer_list<const char*> files) {
    const std::string* dir = paths.dir_of(controller);
    return dir && std::any_of(files.begin(), files.end(),
                              [&](const char* file) { return sys::path_exists(*dir + "/" + file); });
  };
  out.memory_limit = has("memory", {"memory.limit_in_bytes"});
  out.memory_reservation = has("memory", {"memory.soft_limit_in_bytes"});
  out.swap_limit = has("memory", {"memory.memsw.limit_in_bytes"});
  out.swappiness = has("memory", {"memory.swappiness"});
  out.oom_kill_disable = has("memory", {"memory.oom_control"});
  out.pids_limit = cgroups.has("pids");  // the root has no pids.max
  out.cpu_shares = has("cpu", {"cpu.shares"});
  out.cpu_quota = has("cpu", {"cpu.cfs_quota_us"});
  out.cpu_realtime = has("cpu", {"cpu.rt_runtime_us"});
  out.cpuset = has("cpuset", {"cpuset.cpus"});
  out.block_weight = has("blkio", {"blkio.weight", "blkio.bfq.weight"});
  out.block_weight_device = has("blkio", {"blkio.weight_device", "blkio.bfq.weight_device"});
  out.block_throttle = has("blkio", {"blkio.throttle.read_bps_device"});
  return out;
}

// The root group of v2 has next to no files: controllers are asked for by name.
KernelFacts facts_of_v2(const sys::CgroupSystem& cgroups) {
  KernelFacts out;
  out.memory_limit = out.memory_reservation = cgroups.has("memory");
  out.swap_limit = out.memory_limit && sys::path_exists("/proc/swaps");
  out.swappiness = out.oom_kill_disable = out.cpu_realtime = false;
  out.pids_limit = cgroups.has("pids");
  out.cpu_shares = out.cpu_quota = cgroups.has("cpu");
  out.cpuset = cgroups.has("cpuset");
  out.block_weight = out.block_weight_device = out.block_throttle = cgroups.has("io");
  return out;
}

Result<> check_available(const std::string& asked, const std::string& available, const char* what,
                         const char* setting) {
  if (asked.empty()) return {};
  auto numbers = parse_number_list(asked);
  if (!numbers)
    return fail(ErrorKind::kInvalid, "Invalid value %s for cpuset %s: %s", asked.substr(0, 64).c_str(), setting,
                numbers.error().message.c_str());
  if (available.empty()) return {};
  auto there = TRY(parse_number_list(available));
  for (int number : *numbers)
    if (std::find(there.begin(), there.end(), number) == there.end())
      return fail(ErrorKind::kInvalid, "Requested %s are not available - requested %s, available: %s", what,
                  asked.substr(0, 256).c_str(), available.c_str());
  return {};
}

}  // namespace

KernelFacts read_kernel_facts(const sys::CgroupSystem& cgroups) {
  KernelFacts out = cgroups.v2 ? facts_of_v2(cgroups) : facts_of_v1(cgroups);
  out.cpus = first_line("/sys/devices/system/cpu/online");
  out.memory_nodes = first_line("/sys/devices/system/node/online");
  if (out.memory_nodes.empty()) out.memory_nodes = "0";
  return out;
}

Result<std::vector<int>> parse_number_list(std::string_view text) {
  std::vector<int> out;
  for (const auto& part : split(text, ',')) {
    auto range = split_once(part, '-');
    auto low = parse_uint(range ? range->first : part), high = parse_uint(range ? range->second : part);
    if (!low || !high || *low > *high || *high > kMostNumber)
      return fail(ErrorKind::kInvalid, "invalid format: %s", std::string(text.substr(0, 64)).c_str());
    for (uint64_t number = *low; number <= *high; ++number) out.push_back(static_cast<int>(number));
  }
  return out;
}

Result<> fit_to_kernel(spec::HostConfig& host, const KernelFacts& kernel, std::vector<std::string>& warnings) {
  auto drop = [&](bool asked, bool possible, const char* warning, auto&& take_out) {
    if (!asked || possible) return;
    warnings.push_back(warning);
    take_out();
  };
  drop(host.memory > 0, kernel.memory_limit,
       "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
       [&] {
         host.memory = 0;
         host.memory_swap = -1;
       });
  drop(host.memory > 0 && host.memory_swap != -1, kernel.swap_limit,
       "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without "
       "swap.",
       [&] { host.memory_swap = -1; });
  drop(host.memory_swappiness && *host.memory_swappiness != -1, kernel.swappiness,
       "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness "
       "discarded.",
       [&] { host.memory_swappiness.reset(); });
  drop(host.memory_reservation > 0, kernel.memory_reservation,
       "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation "
       "discarded.",
       [&] { host.memory_reservation = 0; });
  // Linux took it out in 5.4 and left the files in place.
  drop(host.kernel_memory > 0, false,
       "Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. Limitation "
       "discarded.",
       [&] { host.kernel_memory = 0; });
  if (!kernel.oom_kill_disable && host.oom_kill_disable) {
    if (*host.oom_kill_disable)
      warnings.push_back("Your kernel does not support OomKillDisable. OomKillDisable discarded.");
    host.oom_kill_disable.reset();
  }
  drop(host.pids_limit && *host.pids_limit > 0, kernel.pids_limit,
       "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
       [&] { host.pids_limit.reset(); });
  drop(host.cpu_shares > 0, kernel.cpu_shares,
       "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
       [&] { host.cpu_shares = 0; });
  if (host.nano_cpus > 0 && !kernel.cpu_quota)
    return fail(ErrorKind::kInvalid,
                "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not "
                "mounted");
  drop(host.cpu_period != 0 || host.cpu_quota != 0, kernel.cpu_quota,
       "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
       [&] { host.cpu_period = host.cpu_quota = 0; });
  if ((host.cpu_realtime_period != 0 || host.cpu_realtime_runtime != 0) && !kernel.cpu_realtime)
    return fail(ErrorKind::kInvalid, "kernel does not support CPU real-time scheduler");
  drop(!host.cpuset_cpus.empty() || !host.cpuset_mems.empty(), kernel.cpuset,
       "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.", [&] {
         host.cpuset_cpus.clear();
         host.cpuset_mems.clear();
       });
  TRY(check_available(host.cpuset_cpus, kernel.cpus, "CPUs", "cpus"));
  TRY(check_available(host.cpuset_mems, kernel.memory_nodes, "memory nodes", "mems"));
  drop(host.blkio_weight > 0, kernel.block_weight,
       "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
       [&] { host.blkio_weight = 0; });
  drop(!host.blkio_weight_device.empty(), kernel.block_weight_device,
       "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
       [&] { host.blkio_weight_device.clear(); });
  drop(!host.blkio_device_read_bps.empty(), kernel.block_throttle,
       "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit "
       "discarded.",
       [&] { host.blkio_device_read_bps.clear(); });
  drop(!host.blkio_device_write_bps.empty(), kernel.block_throttle,
       "Your kernel does not support BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit "
       "discarded.",
       [&] { host.blkio_device_write_bps.clear(); });
  drop(!host.blkio_device_read_iops.empty(), kernel.block_throttle,
       "Your kernel does not support IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit "
       "discarded.",
       [&] { host.blkio_device_read_iops.clear(); });
  drop(!host.blkio_device_write_iops.empty(), kernel.block_throttle,
       "Your kernel does not support IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit "
       "discarded.",
       [&] { host.blkio_device_write_iops.clear(); });
  return {};
}

}  // namespace caisson::engine
