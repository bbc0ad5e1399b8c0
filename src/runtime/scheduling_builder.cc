// SPDX-License-Identifier: Apache-2.0
#include "runtime/scheduling_builder.h"

#include <linux/mempolicy.h>
#include <linux/sched.h>

#include <algorithm>
#include <climits>
#include <vector>

#include "base/text.h"

namespace caisson::runtime {

namespace {

struct Named {
  std::string_view name;
  uint32_t value;
};

template <size_t n>
const Named* find(const Named (&table)[n], std::string_view name) {
  for (const auto& entry : table)
    if (entry.name == name) return &entry;
  return nullptr;
}

constexpr Named kPolicies[] = {{"SCHED_OTHER", SCHED_NORMAL}, {"SCHED_FIFO", SCHED_FIFO},
                               {"SCHED_RR", SCHED_RR},        {"SCHED_BATCH", SCHED_BATCH},
                               {"SCHED_IDLE", SCHED_IDLE},    {"SCHED_DEADLINE", SCHED_DEADLINE}};
constexpr Named kSchedulerFlags[] = {
    {"SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK},  {"SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM},
    {"SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN},        {"SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY},
    {"SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS},      {"SCHED_FLAG_UTIL_CLAMP_MIN", SCHED_FLAG_UTIL_CLAMP_MIN},
    {"SCHED_FLAG_UTIL_CLAMP_MAX", SCHED_FLAG_UTIL_CLAMP_MAX}};
// COMPAT(linux<6.9): the headers of older systems lack the weighted mode.
constexpr Named kModes[] = {{"MPOL_DEFAULT", 0},
                            {"MPOL_PREFERRED", 1},
                            {"MPOL_BIND", 2},
                            {"MPOL_INTERLEAVE", 3},
                            {"MPOL_LOCAL", 4},
                            {"MPOL_PREFERRED_MANY", 5},
                            {"MPOL_WEIGHTED_INTERLEAVE", 6}};
constexpr Named kModeFlags[] = {
    {"MPOL_F_STATIC_NODES", 1u << 15}, {"MPOL_F_RELATIVE_NODES", 1u << 14}, {"MPOL_F_NUMA_BALANCING", 1u << 13}};

bool all_zero(const std::string& mask) {
  return std::all_of(mask.begin(), mask.end(), [](char c) { return c == 0; });
}

}  // namespace

Result<SchedulerPlan> build_scheduler(const spec::OciScheduler& in) {
  SchedulerPlan out;
  if (in.policy.empty()) return fail(ErrorKind::kInvalid, "process.scheduler: policy is missing");
  if (in.policy == "SCHED_ISO")
    return fail(ErrorKind::kUnsupported, "process.scheduler: Linux does not implement 'SCHED_ISO'");
  const Named* policy = find(kPolicies, in.policy);
  if (!policy) return fail(ErrorKind::kInvalid, "process.scheduler: unknown policy %s", quoted(in.policy).c_str());
  out.policy = policy->value;
  for (const auto& name : in.flags) {
    const Named* flag = find(kSchedulerFlags, name);
    if (!flag) return fail(ErrorKind::kInvalid, "process.scheduler: unknown flag %s", quoted(name).c_str());
    out.flags |= flag->value;
  }
  if (in.nice < -20 || in.nice > 19)
    return fail(ErrorKind::kInvalid, "process.scheduler: nice %d is not within -20 and 19", in.nice);
  bool realtime = out.policy == SCHED_FIFO || out.policy == SCHED_RR;
  if (!realtime && in.priority != 0)
    return fail(ErrorKind::kInvalid, "process.scheduler: priority is for 'SCHED_FIFO' and 'SCHED_RR' only");
  if (realtime && (in.priority < 1 || in.priority > 99))
    return fail(ErrorKind::kInvalid, "process.scheduler: priority %d is not within 1 and 99", in.priority);
  if (out.policy == SCHED_DEADLINE) {
    uint64_t period = in.period ? in.period : in.deadline;
    if (in.runtime == 0 || in.runtime > in.deadline || in.deadline > period)
      return fail(ErrorKind::kInvalid, "process.scheduler: 'SCHED_DEADLINE' needs 0 < runtime <= deadline <= period");
  } else if (in.runtime || in.deadline || in.period) {
    return fail(ErrorKind::kInvalid, "process.scheduler: runtime, deadline and period are for 'SCHED_DEADLINE' only");
  }
  out.nice = in.nice;
  out.priority = static_cast<uint32_t>(in.priority);
  out.runtime = in.runtime;
  out.deadline = in.deadline;
  out.period = in.period;
  return out;
}

Result<uint16_t> build_io_priority(const spec::OciIoPriority& in) {
  // <linux/ioprio.h> is no C++.
  static constexpr Named kClasses[] = {{"IOPRIO_CLASS_RT", 1}, {"IOPRIO_CLASS_BE", 2}, {"IOPRIO_CLASS_IDLE", 3}};
  constexpr int kClassShift = 13;
  const Named* type = find(kClasses, in.io_class);
  if (!type) return fail(ErrorKind::kInvalid, "process.ioPriority: unknown class %s", quoted(in.io_class).c_str());
  if (in.priority < 0 || in.priority > 7)
    return fail(ErrorKind::kInvalid, "process.ioPriority: priority %lld is not within 0 and 7",
                static_cast<long long>(in.priority));
  return static_cast<uint16_t>(type->value << kClassShift | static_cast<uint32_t>(in.priority));
}

Result<MemoryPolicyPlan> build_memory_policy(const spec::OciMemoryPolicy& in) {
  MemoryPolicyPlan out;
  const Named* mode = find(kModes, in.mode);
  if (!mode) return fail(ErrorKind::kInvalid, "linux.memoryPolicy: unknown mode %s", quoted(in.mode).c_str());
  out.mode = mode->value;
  for (const auto& name : in.flags) {
    const Named* flag = find(kModeFlags, name);
    if (!flag) return fail(ErrorKind::kInvalid, "linux.memoryPolicy: unknown flag %s", quoted(name).c_str());
    out.mode |= flag->value;
  }
  constexpr uint32_t kBothNodes = 1u << 15 | 1u << 14;
  if ((out.mode & kBothNodes) == kBothNodes)
    return fail(ErrorKind::kInvalid,
                "linux.memoryPolicy: 'MPOL_F_STATIC_NODES' and 'MPOL_F_RELATIVE_NODES' exclude each other");
  out.nodes = TRY_CTX(parse_number_list(in.nodes, kMaxNodes), "linux.memoryPolicy");
  bool takes_nodes = mode->name != "MPOL_DEFAULT" && mode->name != "MPOL_LOCAL";
  if (!takes_nodes && !all_zero(out.nodes))
    return fail(ErrorKind::kInvalid, "linux.memoryPolicy: '%s' takes no nodes", in.mode.c_str());
  // The preferred mode without nodes means the local one.
  if (takes_nodes && mode->name != "MPOL_PREFERRED" && all_zero(out.nodes))
    return fail(ErrorKind::kInvalid, "linux.memoryPolicy: '%s' needs nodes", in.mode.c_str());
  return out;
}

Result<std::string> parse_number_list(std::string_view text, uint32_t limit) {
  if (trim(text).empty()) return std::string();
  constexpr size_t kBits = sizeof(unsigned long) * CHAR_BIT;
  std::vector<unsigned long> mask;
  for (const auto& part : split(text, ',')) {
    auto range = split_once(part, '-');
    auto first = parse_uint(trim(range ? range->first : part));
    auto last = range ? parse_uint(trim(range->second)) : first;
    if (!first || !last || *first > *last)
      return fail(ErrorKind::kInvalid, "list %s is malformed", quoted(text).c_str());
    if (*last >= limit) return fail(ErrorKind::kInvalid, "list %s goes beyond %u", quoted(text).c_str(), limit - 1);
    if (mask.size() <= *last / kBits) mask.resize(*last / kBits + 1);
    for (uint64_t bit = *first; bit <= *last; ++bit) mask[bit / kBits] |= 1ul << (bit % kBits);
  }
  return std::string(reinterpret_cast<const char*>(mask.data()), mask.size() * sizeof mask[0]);
}

}  // namespace caisson::runtime
