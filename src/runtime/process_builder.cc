// SPDX-License-Identifier: Apache-2.0
// The process section of an OCI runtime spec -> ProcessPlan: every name becomes a number here.
#include <sys/resource.h>

#include <algorithm>

#include "base/text.h"
#include "runtime/default_spec.h"
#include "runtime/plan_builder.h"

namespace caisson::runtime {

namespace {

uint64_t capability_bits(const std::vector<std::string>& names) {
  uint64_t bits = 0;
  // Unknown ones are for a newer kernel than ours: every runtime passes over them.
  for (const auto& name : names)
    if (auto number = capability_number(name)) bits |= uint64_t{1} << *number;
  return bits;
}

}  // namespace

Result<uint32_t> resource_of_name(std::string_view name) {
  static constexpr struct {
    const char* name;
    uint32_t number;
  } kResources[] = {
      {"as", RLIMIT_AS},           {"core", RLIMIT_CORE},     {"cpu", RLIMIT_CPU},         {"data", RLIMIT_DATA},
      {"fsize", RLIMIT_FSIZE},     {"locks", RLIMIT_LOCKS},   {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE},
      {"nice", RLIMIT_NICE},       {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC},     {"rss", RLIMIT_RSS},
      {"rtprio", RLIMIT_RTPRIO},   {"rttime", RLIMIT_RTTIME}, {"sigpending", RLIMIT_SIGPENDING}, {"stack", RLIMIT_STACK},
  };
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
  std::string cwd = in.cwd.empty() ? "/" : in.cwd;
  if (cwd[0] != '/' || cwd.find('\0') != std::string::npos)
    return fail(ErrorKind::kInvalid, "process.cwd %s is not an absolute path", quoted(in.cwd).c_str());
  for (const auto* list : {&in.args, &in.env})
    for (const auto& text : *list)
      if (text.find('\0') != std::string::npos) return fail(ErrorKind::kInvalid, "process.args or env holds a zero byte");
  out.args = in.args;
  out.env = in.env;
  out.cwd = cwd;
  out.uid = in.user.uid;
  out.gid = in.user.gid;
  out.additional_gids = in.user.additional_gids;
  if (in.user.umask) out.umask = static_cast<int32_t>(*in.user.umask & 0777);
  if (in.capabilities) {
    out.cap_bounding = capability_bits(in.capabilities->bounding);
    out.cap_effective = capability_bits(in.capabilities->effective);
    out.cap_permitted = capability_bits(in.capabilities->permitted);
    out.cap_inheritable = capability_bits(in.capabilities->inheritable);
    out.cap_ambient = capability_bits(in.capabilities->ambient);
  }
  out.no_new_privs = in.no_new_privileges;
  for (const auto& limit : in.rlimits) {
    uint32_t resource = TRY(resource_of_name(limit.type));
    for (const auto& earlier : out.rlimits)
      if (earlier.resource == resource) return fail(ErrorKind::kInvalid, "rlimit '%s' is listed twice", limit.type.c_str());
    out.rlimits.push_back({resource, limit.soft, limit.hard});
  }
  if (in.oom_score_adj) {
    if (*in.oom_score_adj < -1000 || *in.oom_score_adj > 1000)
      return fail(ErrorKind::kInvalid, "oomScoreAdj %ld is not within -1000 and 1000", static_cast<long>(*in.oom_score_adj));
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
