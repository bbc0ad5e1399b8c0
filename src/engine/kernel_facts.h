// SPDX-License-Identifier: Apache-2.0
// Which limits this kernel can set, and what becomes of a request for one that it cannot: Docker's warnings and
// refusals. Reading the kernel is apart from deciding, which is pure.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "spec/docker_config.h"
#include "sys/cgroup.h"

namespace caisson::engine {

// By default everything can be set, on any processor.
struct KernelFacts {
  bool memory_limit = true, memory_reservation = true, swap_limit = true, swappiness = true, oom_kill_disable = true;
  bool pids_limit = true;
  bool cpu_shares = true, cpu_quota = true, cpu_realtime = true, cpuset = true;
  bool block_weight = true, block_weight_device = true, block_throttle = true;
  bool ipv4_forwarding = true;
  std::string cpus, memory_nodes;  // "0-3,8"; empty: not known, anything goes
};

KernelFacts read_kernel_facts(const sys::CgroupSystem& cgroups);

// Takes out what cannot be set, with a warning each. kInvalid: processors or memory nodes that are not there, and
// real-time limits where there is no such scheduler.
Result<> fit_to_kernel(spec::HostConfig& host_config, const KernelFacts& kernel, std::vector<std::string>& warnings);

// Pure: "0-3,8" -> {0, 1, 2, 3, 8}; kInvalid.
Result<std::vector<int>> parse_number_list(std::string_view text);

}  // namespace caisson::engine
