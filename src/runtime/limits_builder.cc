// SPDX-License-Identifier: Apache-2.0
// linux.resources of a runtime spec -> the limits that sys/cgroup writes. What is unset, and what a value
// of 0 stands for, is decided here; which file takes a value is not.
#include <algorithm>

#include "base/text.h"
#include "runtime/default_spec.h"
#include "runtime/plan_builder.h"

namespace caisson::runtime {

namespace {

std::vector<sys::BlockThrottle> throttles(const std::vector<spec::OciThrottleDevice>& in) {
  std::vector<sys::BlockThrottle> out;
  for (const auto& device : in) out.push_back({device.major, device.minor, device.rate});
  return out;
}

Result<sys::DeviceRule> build_device_rule(const spec::OciDeviceRule& in) {
  sys::DeviceRule out;
  out.allow = in.allow;
  if (in.type.size() > 1 || (in.type.size() == 1 && std::string_view("abc").find(in.type) == std::string_view::npos))
    return fail(ErrorKind::kInvalid, "device rule of unknown type %s", quoted(in.type).c_str());
  out.type = in.type.empty() ? 'a' : in.type[0];
  out.major = in.major.value_or(-1);
  out.minor = in.minor.value_or(-1);
  for (char c : in.access) {
    if (c == 'r') out.read = true;
    else if (c == 'w') out.write = true;
    else if (c == 'm') out.mknod = true;
    else return fail(ErrorKind::kInvalid, "device rule with unknown access %s", quoted(in.access).c_str());
  }
  if (in.access.empty()) out.read = out.write = out.mknod = true;
  return out;
}

// Rules of a spec are written with the default devices taken for granted, as every runtime allows them.
void add_default_device_rules(std::vector<sys::DeviceRule>& rules) {
  if (rules.empty() || (rules.back().allow && rules.back().type == 'a')) return;
  for (const auto& in : default_device_rules()) {
    auto rule = build_device_rule(in);
    if (rule && rule->allow && std::find(rules.begin(), rules.end(), *rule) == rules.end()) rules.push_back(*rule);
  }
}

}  // namespace

Result<sys::CgroupLimits> build_limits(const spec::OciResources& in) {
  sys::CgroupLimits out;
  if (in.memory) {
    out.memory = in.memory->limit;
    out.memory_swap = in.memory->swap;
    out.memory_reservation = in.memory->reservation;
    out.memory_swappiness = in.memory->swappiness;
    out.oom_kill_disable = in.memory->disable_oom_killer;
  }
  if (in.cpu) {
    out.cpu_shares = in.cpu->shares;
    out.cpu_quota = in.cpu->quota;
    out.cpu_period = in.cpu->period;
    out.cpu_realtime_runtime = in.cpu->realtime_runtime;
    out.cpu_realtime_period = in.cpu->realtime_period;
    out.cpuset_cpus = in.cpu->cpus;
    out.cpuset_mems = in.cpu->mems;
  }
  if (in.pids) out.pids = in.pids->limit;
  if (in.block_io) {
    const auto& io = *in.block_io;
    out.blkio_weight = io.weight;
    for (const auto& device : io.weight_device)
      if (device.weight) out.blkio_weight_devices.push_back({device.major, device.minor, *device.weight});
    out.read_bps = throttles(io.throttle_read_bps_device);
    out.write_bps = throttles(io.throttle_write_bps_device);
    out.read_iops = throttles(io.throttle_read_iops_device);
    out.write_iops = throttles(io.throttle_write_iops_device);
  }
  for (const auto& pages : in.hugepage_limits) out.huge_pages.push_back({pages.page_size, pages.limit});
  for (const auto& rule : in.devices) out.devices.push_back(TRY(build_device_rule(rule)));
  add_default_device_rules(out.devices);
  for (const auto& [name, value] : in.unified) out.unified.emplace_back(name, value);
  return out;
}

}  // namespace caisson::runtime
