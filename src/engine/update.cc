// SPDX-License-Identifier: Apache-2.0
#include "engine/update.h"

#include <thread>

#include "base/log.h"
#include "base/text.h"
#include "engine/start_facts.h"
#include "monitor/client.h"

namespace caisson::engine {

namespace {

// The container's own CPU settings are of one kind or the other.
Result<> check_cpu_kinds(const spec::HostConfig& host, const spec::HostConfig& change) {
  auto conflict = [](const char* what) { return fail(ErrorKind::kConflict, "Conflicting options: %s", what); };
  if (change.nano_cpus > 0 && host.cpu_period > 0)
    return conflict("Nano CPUs cannot be updated as CPU Period has already been set");
  if (change.nano_cpus > 0 && host.cpu_quota > 0)
    return conflict("Nano CPUs cannot be updated as CPU Quota has already been set");
  if (change.cpu_period > 0 && host.nano_cpus > 0)
    return conflict("CPU Period cannot be updated as NanoCPUs has already been set");
  if (change.cpu_quota > 0 && host.nano_cpus > 0)
    return conflict("CPU Quota cannot be updated as NanoCPUs has already been set");
  return {};
}

Result<> check_restart_policy(const spec::HostConfig& host, const spec::RestartPolicy& policy) {
  const std::string& name = policy.name;
  if (name.empty() && policy.maximum_retry_count == 0) return {};
  bool is_none = name.empty() || name == "no";
  if (!is_none && name != "always" && name != "on-failure" && name != "unless-stopped")
    return fail(
        ErrorKind::kInvalid,
        "invalid restart policy: unknown policy '%s'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        name.substr(0, 64).c_str());
  if (policy.maximum_retry_count < 0)
    return fail(ErrorKind::kInvalid, "invalid restart policy: maximum retry count cannot be negative");
  if (policy.maximum_retry_count > 0 && name != "on-failure")
    return fail(ErrorKind::kInvalid, "invalid restart policy: maximum retry count can only be used with 'on-failure'%s",
                is_none ? "" : " policy");
  if (host.auto_remove && !is_none)
    return fail(ErrorKind::kConflict,
                "Restart policy cannot be updated because AutoRemove is enabled for the container");
  return {};
}

}  // namespace

Result<> merge_update(spec::HostConfig& host, spec::HostConfig change, const HostFacts& facts) {
  TRY(check_resource_values(change, facts));
  if (change.memory > 0 && change.memory_swap > 0 && change.memory_swap < change.memory)
    return fail(ErrorKind::kInvalid, "Minimum memoryswap limit should be larger than memory limit, see usage");
  TRY(check_restart_policy(host, change.restart_policy));
  TRY(check_cpu_kinds(host, change));
  if (change.memory > host.memory_swap && change.memory_swap == 0 && change.memory != 0 && host.memory_swap != -1)
    return fail(
        ErrorKind::kConflict,
        "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time");
  if (change.memory_swap > 0 && change.memory == 0 && change.memory_swap < host.memory)
    return fail(ErrorKind::kInvalid, "Minimum memoryswap limit should be larger than memory limit, see usage");
  auto take = [](auto& to, const auto& from) {
    if constexpr (requires { from.empty(); }) {
      if (!from.empty()) to = from;
    } else if (from != 0) {
      to = from;
    }
  };
  take(host.blkio_weight, change.blkio_weight);
  take(host.cpu_shares, change.cpu_shares);
  take(host.nano_cpus, change.nano_cpus);
  take(host.cpu_period, change.cpu_period);
  take(host.cpu_quota, change.cpu_quota);
  take(host.cpu_realtime_period, change.cpu_realtime_period);
  take(host.cpu_realtime_runtime, change.cpu_realtime_runtime);
  take(host.cpuset_cpus, change.cpuset_cpus);
  take(host.cpuset_mems, change.cpuset_mems);
  take(host.memory, change.memory);
  take(host.memory_swap, change.memory_swap);
  take(host.memory_reservation, change.memory_reservation);
  if (change.pids_limit) host.pids_limit = change.pids_limit;
  if (!change.restart_policy.name.empty()) host.restart_policy = change.restart_policy;
  take(host.blkio_weight_device, change.blkio_weight_device);
  take(host.blkio_device_read_bps, change.blkio_device_read_bps);
  take(host.blkio_device_write_bps, change.blkio_device_write_bps);
  take(host.blkio_device_read_iops, change.blkio_device_read_iops);
  take(host.blkio_device_write_iops, change.blkio_device_write_iops);
  return {};
}

sys::CgroupLimits limits_of_update(const spec::HostConfig& change, const spec::OciBlockIo& devices) {
  sys::CgroupLimits out;
  if (change.memory > 0) out.memory = change.memory;
  if (change.memory_swap != 0) out.memory_swap = change.memory_swap;
  if (change.memory_reservation > 0) out.memory_reservation = change.memory_reservation;
  if (change.cpu_shares > 0) out.cpu_shares = static_cast<uint64_t>(change.cpu_shares);
  if (change.nano_cpus > 0) {
    out.cpu_period = 100000;
    out.cpu_quota = change.nano_cpus / 10000;
  }
  if (change.cpu_period > 0) out.cpu_period = static_cast<uint64_t>(change.cpu_period);
  if (change.cpu_quota != 0) out.cpu_quota = change.cpu_quota;
  if (change.cpu_realtime_period > 0) out.cpu_realtime_period = static_cast<uint64_t>(change.cpu_realtime_period);
  if (change.cpu_realtime_runtime != 0) out.cpu_realtime_runtime = change.cpu_realtime_runtime;
  out.cpuset_cpus = change.cpuset_cpus;
  out.cpuset_mems = change.cpuset_mems;
  out.pids = change.pids_limit;
  if (change.blkio_weight > 0) out.blkio_weight = static_cast<uint16_t>(change.blkio_weight);
  for (const auto& device : devices.weight_device)
    out.blkio_weight_devices.push_back({device.major, device.minor, device.weight.value_or(0)});
  using Throttles = std::vector<sys::BlockThrottle>;
  for (auto [from, to] : {std::pair{&devices.throttle_read_bps_device, &out.read_bps},
                          {&devices.throttle_write_bps_device, &out.write_bps},
                          {&devices.throttle_read_iops_device, &out.read_iops},
                          {&devices.throttle_write_iops_device, &out.write_iops}})
    for (const auto& device : *from) static_cast<Throttles*>(to)->push_back({device.major, device.minor, device.rate});
  return out;
}

// A monitor that was started without a policy has nothing to start from again: there the engine does it.
static void tell_policy(const Services& services, const ContainerRecord& record) {
  const auto& policy = record.host_config.restart_policy;
  auto known = monitor::restart_policy_of(policy.name, policy.maximum_retry_count);
  if (!known) return;
  if (auto told = monitor::set_restart_policy(services.paths.run(record.id), *known); !told)
    log_warn("container %s: %s, ignoring", record.id.substr(0, 12).c_str(), told.error().message.c_str());
}

Result<std::vector<std::string>> update_container(const Services& services, const ContainerPtr& container,
                                                  const spec::HostConfig& asked) {
  auto operation = container->begin_operation();
  ContainerRecord record = *container->snapshot();
  std::string context = "Cannot update container " + record.id;
  if (record.status() == Status::kRemoving || record.status() == Status::kDead)
    return fail(ErrorKind::kConflict, "%s: container is marked for removal and cannot be \"update\"", context.c_str());
  HostFacts facts;
  facts.cpus = static_cast<int>(std::thread::hardware_concurrency());
  facts.cgroup_v2 = services.cgroups.v2;
  std::vector<std::string> warnings;
  spec::HostConfig change = asked;
  TRY(fit_to_kernel(change, read_kernel_facts(services.cgroups), warnings));
  auto merged = merge_update(record.host_config, change, facts);
  if (!merged)
    return merged.error().kind == ErrorKind::kInvalid ? std::unexpected(merged.error())
                                                      : with_context(merged.error(), context);
  auto limits = limits_of_update(change, TRY(find_block_limits(change)));
  // A swap limit that was left out stays twice the memory, as it was made.
  if (record.running() && limits != sys::CgroupLimits{}) {
    auto updated = sys::update_cgroup_limits(sys::cgroup_paths(services.cgroups, record.cgroup_path), limits);
    // 404 and 409 on this route mean the container itself.
    if (!updated) return fail(ErrorKind::kInternal, "%s: %s", context.c_str(), updated.error().message.c_str());
  }
  TRY(services.containers.save(*container, record, db::Durability::kFull));
  if (!change.restart_policy.name.empty() && record.running()) tell_policy(services, record);
  services.events.publish_container(record, "update");
  return warnings;
}

}  // namespace caisson::engine
