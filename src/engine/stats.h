// SPDX-License-Identifier: Apache-2.0
// One sample of a container's resource counters, as GET /containers/{id}/stats tells it. Reads a dozen small
// files of the kernel; keeps nothing.
#pragma once

#include <string_view>

#include "engine/record.h"
#include "spec/docker_stats.h"
#include "sys/cgroup.h"

namespace caisson::engine {

// Of a container that does not run (any more): zeros, as Docker has it. precpu is the caller's.
spec::ContainerStats sample_stats(const ContainerRecord& record, const sys::CgroupSystem& cgroups);

// The pure parts. Interfaces of /proc/PID/net/dev without lo; the first line and the CPU count of /proc/stat.
std::map<std::string, spec::NetworkStats> parse_net_dev(std::string_view text);
struct HostCpu {
  uint64_t total_ns = 0;
  uint32_t online = 0;
};
HostCpu parse_proc_stat(std::string_view text);

}  // namespace caisson::engine
