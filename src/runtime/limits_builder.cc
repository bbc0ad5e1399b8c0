// SPDX-License-Identifier: Apache-2.0
// linux.resources of a runtime spec -> the limits that sys/cgroup writes. What is unset, and what a value
// of 0 stands for, is decided here; which file takes a value is not.
#include <algorithm>

#include "base/text.h"
#include "runtime/default_spec.h"
#include "runtime/plan_builder.h"

namespace caisson::runtime {

namespace {

// The reference runtime's structs have no "absent": 0 leaves the value alone there, and so it must here.
template <class T>
std::optional<T> unless_zero(std::optional<T> value) {
  return value && *value != 0 ? value : std::nullopt;
}

Result<> check_device_number(int64_t major, int64_t minor, const char* what) {
  if (major >= 0 && minor >= 0 && major <= UINT32_MAX && minor <= UINT32_MAX) return {};
  return fail(ErrorKind::kInvalid, "%s: device %ld:%ld is invalid", what, static_cast<long>(major),
              static_cast<long>(minor));
}

Result<std::vector<sys::BlockThrottle>> throttles(const std::vector<spec::OciThrottleDevice>& in, const char* name) {
  std::vector<sys::BlockThrottle> out;
  for (const auto& device : in) {
    TRY(check_device_number(device.major, device.minor, name));
    out.push_back({device.major, device.minor, device.rate});
  }
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
    if (c == 'r')
      out.read = true;
    else if (c == 'w')
      out.write = true;
    else if (c == 'm')
      out.mknod = true;
    else
      return fail(ErrorKind::kInvalid, "device rule with unknown access %s", quoted(in.access).c_str());
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

Result<> add_memory(const spec::OciMemory& in, sys::CgroupLimits& out) {
  for (auto [name, value] : {std::pair{"limit", in.limit}, {"swap", in.swap}, {"reservation", in.reservation}})
    if (value && *value < -1)
      return fail(ErrorKind::kInvalid, "memory.%s %ld is neither a size nor -1", name, static_cast<long>(*value));
  out.memory = unless_zero(in.limit);
  out.memory_swap = unless_zero(in.swap);
  out.memory_reservation = unless_zero(in.reservation);
  // All bits set is how callers of Docker's API say "unset".
  if (in.swappiness && *in.swappiness != UINT64_MAX) {
    if (*in.swappiness > 100)
      return fail(ErrorKind::kInvalid, "memory.swappiness %lu is not within 0 and 100",
                  static_cast<unsigned long>(*in.swappiness));
    out.memory_swappiness = in.swappiness;
  }
  out.oom_kill_disable = in.disable_oom_killer;
  out.memory_check_before_update = in.check_before_update.value_or(false);
  out.memory_kernel_tcp = unless_zero(in.kernel_tcp);
  // kernel and useHierarchy: kernels gave up on them, every runtime passes over them.
  return {};
}

void add_cpu(const spec::OciCpu& in, sys::CgroupLimits& out) {
  out.cpu_shares = unless_zero(in.shares);
  out.cpu_quota = unless_zero(in.quota);
  out.cpu_period = unless_zero(in.period);
  out.cpu_burst = in.burst;
  out.cpu_realtime_runtime = unless_zero(in.realtime_runtime);
  out.cpu_realtime_period = unless_zero(in.realtime_period);
  out.cpu_idle = in.idle;
  out.cpuset_cpus = in.cpus;
  out.cpuset_mems = in.mems;
}

Result<> add_block_io(const spec::OciBlockIo& in, sys::CgroupLimits& out) {
  out.blkio_weight = unless_zero(in.weight);
  out.blkio_leaf_weight = unless_zero(in.leaf_weight);
  for (const auto& device : in.weight_device) {
    TRY(check_device_number(device.major, device.minor, "blockIO.weightDevice"));
    if (unless_zero(device.weight)) out.blkio_weight_devices.push_back({device.major, device.minor, *device.weight});
    if (unless_zero(device.leaf_weight))
      out.blkio_leaf_weight_devices.push_back({device.major, device.minor, *device.leaf_weight});
  }
  out.read_bps = TRY(throttles(in.throttle_read_bps_device, "blockIO.throttleReadBpsDevice"));
  out.write_bps = TRY(throttles(in.throttle_write_bps_device, "blockIO.throttleWriteBpsDevice"));
  out.read_iops = TRY(throttles(in.throttle_read_iops_device, "blockIO.throttleReadIOPSDevice"));
  out.write_iops = TRY(throttles(in.throttle_write_iops_device, "blockIO.throttleWriteIOPSDevice"));
  return {};
}

// A part of a file's name or one word of a line.
bool plain_word(std::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > ' ' && c < 127 && c != '/'; });
}

}  // namespace

Result<sys::CgroupLimits> build_limits(const spec::OciResources& in) {
  sys::CgroupLimits out;
  if (in.memory) TRY(add_memory(*in.memory, out));
  if (in.cpu) add_cpu(*in.cpu, out);
  if (in.pids && in.pids->limit != 0) out.pids = in.pids->limit;
  if (in.block_io) TRY(add_block_io(*in.block_io, out));
  for (const auto& pages : in.hugepage_limits) {
    if (!plain_word(pages.page_size))
      return fail(ErrorKind::kInvalid, "hugepageLimits.pageSize %s is invalid", quoted(pages.page_size).c_str());
    out.huge_pages.push_back({pages.page_size, pages.limit});
  }
  if (in.network) {
    out.net_class_id = unless_zero(in.network->class_id);
    for (const auto& entry : in.network->priorities) {
      if (!plain_word(entry.name))
        return fail(ErrorKind::kInvalid, "network.priorities: interface %s is invalid", quoted(entry.name).c_str());
      out.net_priorities.emplace_back(entry.name, entry.priority);
    }
  }
  for (const auto& [device, limit] : in.rdma) {
    if (!plain_word(device)) return fail(ErrorKind::kInvalid, "rdma: device %s is invalid", quoted(device).c_str());
    out.rdma.push_back({device, limit.hca_handles, limit.hca_objects});
  }
  for (const auto& rule : in.devices) out.devices.push_back(TRY(build_device_rule(rule)));
  add_default_device_rules(out.devices);
  for (const auto& [name, value] : in.unified) {
    if (name.find('/') != std::string::npos)
      return fail(ErrorKind::kInvalid, "unified resource %s must be a file name (no slashes)", quoted(name).c_str());
    out.unified.emplace_back(name, value);
  }
  return out;
}

}  // namespace caisson::runtime
