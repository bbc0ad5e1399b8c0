// SPDX-License-Identifier: Apache-2.0
// The process section of an OCI runtime spec -> ProcessPlan: every name becomes a number here.
#include <sched.h>
#include <sys/personality.h>
#include <sys/resource.h>

#include <algorithm>
#include <set>

#include "base/log.h"
#include "base/text.h"
#include "runtime/default_spec.h"
#include "runtime/plan_builder.h"
#include "runtime/process_builder.h"
#include "runtime/scheduling_builder.h"
#include "sys/rtnetlink.h"

namespace caisson::runtime {

namespace {

constexpr struct {
  const char* name;
  uint32_t number;
} kResources[] = {
    {"as", RLIMIT_AS},           {"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
    {"data", RLIMIT_DATA},       {"fsize", RLIMIT_FSIZE},       {"locks", RLIMIT_LOCKS},
    {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
    {"nofile", RLIMIT_NOFILE},   {"nproc", RLIMIT_NPROC},       {"rss", RLIMIT_RSS},
    {"rtprio", RLIMIT_RTPRIO},   {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
    {"stack", RLIMIT_STACK},
};

// The last entry of a name wins, in the place of that last one, as runc has it.
Result<std::vector<std::string>> environment(const std::vector<std::string>& in) {
  std::vector<std::string> out;
  std::set<std::string_view> seen;
  for (auto entry = in.rbegin(); entry != in.rend(); ++entry) {
    size_t end = entry->find('=');
    if (end == std::string::npos)
      return fail(ErrorKind::kInvalid, "process.env: %s has no '='", quoted(*entry).c_str());
    if (end == 0) return fail(ErrorKind::kInvalid, "process.env: %s has no name", quoted(*entry).c_str());
    if (seen.insert(std::string_view(*entry).substr(0, end)).second) out.push_back(*entry);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

uint64_t capability_bits(const std::vector<std::string>& names, std::set<std::string>& unknown) {
  uint64_t bits = 0;
  for (const auto& name : names)
    if (auto number = capability_number(name))
      bits |= uint64_t{1} << *number;
    else
      unknown.insert(name);
  return bits;
}

void add_capabilities(const spec::OciCapabilities& in, ProcessPlan& out) {
  // The specification wants a warning for those, not an error: they may be a newer kernel's.
  std::set<std::string> unknown;
  out.cap_bounding = capability_bits(in.bounding, unknown);
  out.cap_effective = capability_bits(in.effective, unknown);
  out.cap_permitted = capability_bits(in.permitted, unknown);
  out.cap_inheritable = capability_bits(in.inheritable, unknown);
  out.cap_ambient = capability_bits(in.ambient, unknown);
  for (const auto& name : unknown) log_warn("capability %s is unknown, ignoring", quoted(name).c_str());
  uint64_t possible = out.cap_permitted & out.cap_inheritable;
  if (out.cap_ambient & ~possible)
    log_debug("ambient capabilities that are not permitted and inheritable (mask %lx) cannot be raised, ignoring",
              static_cast<unsigned long>(out.cap_ambient & ~possible));
  out.cap_ambient &= possible;
}

Result<> add_limits(const std::vector<spec::OciRlimit>& in, ProcessPlan& out) {
  for (const auto& limit : in) {
    // Docker's short names are for its flags; the specification has one spelling.
    if (!limit.type.starts_with("RLIMIT_"))
      return fail(ErrorKind::kInvalid, "process.rlimits: unknown type %s", quoted(limit.type).c_str());
    uint32_t resource = TRY_CTX(resource_of_name(limit.type), "process.rlimits");
    for (const auto& earlier : out.rlimits)
      if (earlier.resource == resource)
        return fail(ErrorKind::kInvalid, "process.rlimits: '%s' is listed twice", limit.type.c_str());
    if (limit.soft > limit.hard)
      return fail(ErrorKind::kInvalid, "process.rlimits: '%s' has a soft limit above its hard limit: %llu > %llu",
                  limit.type.c_str(), static_cast<unsigned long long>(limit.soft),
                  static_cast<unsigned long long>(limit.hard));
    out.rlimits.push_back({resource, limit.soft, limit.hard});
  }
  return {};
}

Result<> add_scheduling(const spec::OciProcess& in, ProcessPlan& out) {
  if (in.scheduler) out.scheduler = TRY(build_scheduler(*in.scheduler));
  if (in.io_priority) out.io_priority = TRY(build_io_priority(*in.io_priority));
  if (!in.exec_cpu_affinity) return {};
  out.initial_affinity =
      TRY_CTX(parse_number_list(in.exec_cpu_affinity->initial, kMaxCpus), "process.execCPUAffinity: initial");
  out.final_affinity =
      TRY_CTX(parse_number_list(in.exec_cpu_affinity->final_list, kMaxCpus), "process.execCPUAffinity: final");
  return {};
}

bool is_mapped(uint32_t id, const std::vector<IdMapping>& mappings) {
  return std::any_of(mappings.begin(), mappings.end(),
                     [id](const IdMapping& m) { return id >= m.container_id && id - m.container_id < m.size; });
}

Result<> check_mapped_ids(const Plan& plan) {
  if (!(plan.create_namespaces & CLONE_NEWUSER)) return {};
  const ProcessPlan& process = plan.process;
  if (!is_mapped(process.uid, plan.uid_mappings))
    return fail(ErrorKind::kInvalid, "process.user: uid %u is not mapped in the user namespace", process.uid);
  if (!is_mapped(process.gid, plan.gid_mappings))
    return fail(ErrorKind::kInvalid, "process.user: gid %u is not mapped in the user namespace", process.gid);
  for (uint32_t gid : process.additional_gids)
    if (!is_mapped(gid, plan.gid_mappings))
      return fail(ErrorKind::kInvalid, "process.user: additional gid %u is not mapped in the user namespace", gid);
  return {};
}

Result<> add_net_devices(const spec::OciLinux& in, Plan& plan) {
  if (in.net_devices.empty()) return {};
  bool own = plan.create_namespaces & CLONE_NEWNET;
  for (const auto& join : plan.join_namespaces) own |= join.type == CLONE_NEWNET;
  if (!own) return fail(ErrorKind::kInvalid, "linux.netDevices need a network namespace of the container's own");
  std::set<std::string> names;
  for (const auto& [here, device] : in.net_devices) {
    const std::string& there = device.name.empty() ? here : device.name;
    for (const auto* name : {&here, &there})
      // A percent sign makes the kernel number the device.
      if (!sys::is_interface_name(*name) || name->find('%') != std::string::npos)
        return fail(ErrorKind::kInvalid, "linux.netDevices: %s is no name of a network device", quoted(*name).c_str());
    if (!names.insert(there).second)
      return fail(ErrorKind::kInvalid, "linux.netDevices: '%s' would be in the container twice", there.c_str());
    plan.net_devices.emplace_back(here, there);
  }
  return {};
}

}  // namespace

Result<uint32_t> personality_number(const spec::OciPersonality& in) {
  if (in.domain != "LINUX" && in.domain != "LINUX32")
    return fail(ErrorKind::kInvalid, "linux.personality: unknown domain %s", quoted(in.domain).c_str());
  if (!in.flags.empty())
    return fail(ErrorKind::kInvalid, "linux.personality: unknown flag %s", quoted(in.flags.front()).c_str());
  return in.domain == "LINUX" ? PER_LINUX : PER_LINUX32;
}

Result<> add_linux_process(const spec::OciLinux& in, Plan& plan) {
  if (in.personality) plan.process.personality = TRY(personality_number(*in.personality));
  if (in.memory_policy) plan.process.memory_policy = TRY(build_memory_policy(*in.memory_policy));
  if (in.intel_rdt)
    return fail(ErrorKind::kUnsupported, "linux.intelRdt: cache and memory bandwidth allocation is not supported");
  if (in.seccomp) {
    plan.process.seccomp_listener_path = in.seccomp->listener_path;
    plan.process.seccomp_listener_metadata = in.seccomp->listener_metadata;
  }
  TRY(check_mapped_ids(plan));
  return add_net_devices(in, plan);
}

Result<uint32_t> resource_of_name(std::string_view name) {
  std::string low = to_lower(name);
  std::string_view plain = low;
  if (plain.starts_with("rlimit_")) plain.remove_prefix(7);
  for (const auto& resource : kResources)
    if (plain == resource.name) return resource.number;
  return fail(ErrorKind::kInvalid, "unknown resource limit %s", quoted(name).c_str());
}

Result<ProcessPlan> build_process(const spec::OciProcess& in) {
  ProcessPlan out;
  if (in.args.empty()) return fail(ErrorKind::kInvalid, "process.args is empty");
  if (in.cwd.empty() || in.cwd[0] != '/' || in.cwd.find('\0') != std::string::npos)
    return fail(ErrorKind::kInvalid, "process.cwd %s is not an absolute path", quoted(in.cwd).c_str());
  for (const auto* list : {&in.args, &in.env})
    for (const auto& text : *list)
      if (text.find('\0') != std::string::npos)
        return fail(ErrorKind::kInvalid, "process.%s: %s holds a zero byte", list == &in.args ? "args" : "env",
                    quoted(text).c_str());
  out.args = in.args;
  out.env = TRY(environment(in.env));
  out.cwd = in.cwd;
  out.uid = in.user.uid;
  out.gid = in.user.gid;
  out.additional_gids = in.user.additional_gids;
  for (uint32_t id : {out.uid, out.gid})
    if (id == UINT32_MAX) return fail(ErrorKind::kInvalid, "process.user: %u is no id", id);
  if (in.user.umask) out.umask = static_cast<int32_t>(*in.user.umask & 0777);
  if (in.capabilities) add_capabilities(*in.capabilities, out);
  out.no_new_privs = in.no_new_privileges;
  TRY(add_limits(in.rlimits, out));
  TRY(add_scheduling(in, out));
  if (in.oom_score_adj) {
    if (*in.oom_score_adj < -1000 || *in.oom_score_adj > 1000)
      return fail(ErrorKind::kInvalid, "process.oomScoreAdj %lld is not within -1000 and 1000",
                  static_cast<long long>(*in.oom_score_adj));
    out.oom_score_adj = static_cast<int32_t>(*in.oom_score_adj);
  }
  out.apparmor_profile = in.apparmor_profile;
  out.selinux_label = in.selinux_label;
  out.terminal = in.terminal;
  if (in.console_size) {
    out.rows = static_cast<uint16_t>(std::min<uint64_t>(in.console_size->height, UINT16_MAX));
    out.columns = static_cast<uint16_t>(std::min<uint64_t>(in.console_size->width, UINT16_MAX));
  }
  return out;
}

}  // namespace caisson::runtime
