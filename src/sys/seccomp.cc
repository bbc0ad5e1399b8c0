// SPDX-License-Identifier: Apache-2.0
#include "sys/seccomp.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>

#include <algorithm>

#include "base/text.h"

namespace caisson::sys {

namespace {

// Newer than the libseccomp of our oldest system. From 424 on all architectures share the numbers.
struct NewCall {
  const char* name;
  uint32_t number;
};
constexpr NewCall kNewCalls[] = {
    {"memfd_secret", 447},   {"process_mrelease", 448}, {"futex_waitv", 449},       {"set_mempolicy_home_node", 450},
    {"cachestat", 451},      {"fchmodat2", 452},        {"map_shadow_stack", 453},  {"futex_wake", 454},
    {"futex_wait", 455},     {"futex_requeue", 456},    {"statmount", 457},         {"listmount", 458},
    {"lsm_get_self_attr", 459}, {"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462},
    {"setxattrat", 463},     {"getxattrat", 464},       {"listxattrat", 465},       {"removexattrat", 466},
    {"open_tree_attr", 467}, {"file_getattr", 468},     {"file_setattr", 469},
};

struct Arch {
  const char* name;
  uint32_t token;       // libseccomp's
  uint32_t audit_arch;
  uint32_t number_bit;  // set in every number of this architecture
};
#if defined(__x86_64__)
constexpr Arch kArches[] = {{"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64, 0},
                            {"SCMP_ARCH_X86", SCMP_ARCH_X86, AUDIT_ARCH_I386, 0},
                            {"SCMP_ARCH_X32", SCMP_ARCH_X32, AUDIT_ARCH_X86_64, 0x40000000}};
#elif defined(__aarch64__)
constexpr Arch kArches[] = {{"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64, AUDIT_ARCH_AARCH64, 0},
                            {"SCMP_ARCH_ARM", SCMP_ARCH_ARM, AUDIT_ARCH_ARM, 0}};
#else
#error "architecture without a seccomp table"
#endif

std::optional<uint32_t> number_of(const Arch& arch, const std::string& name) {
  int number = seccomp_syscall_resolve_name_arch(arch.token, name.c_str());
  // Negative: unknown, or one that this architecture reaches through another call.
  if (number >= 0) return static_cast<uint32_t>(number);
  for (const auto& call : kNewCalls)
    if (name == call.name) return call.number | arch.number_bit;
  if (name == "uretprobe" && std::string_view(arch.name) == "SCMP_ARCH_X86_64") return 335;
  return std::nullopt;
}

// Known architectures that a profile may list but this machine cannot run.
bool foreign_arch(std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "SCMP_ARCH_X86_64", "SCMP_ARCH_X86",       "SCMP_ARCH_X32",   "SCMP_ARCH_AARCH64",     "SCMP_ARCH_ARM",
      "SCMP_ARCH_MIPS",   "SCMP_ARCH_MIPS64",    "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL",  "SCMP_ARCH_MIPSEL64",
      "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC",  "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE",     "SCMP_ARCH_S390",
      "SCMP_ARCH_S390X",  "SCMP_ARCH_RISCV64",   "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64",   "SCMP_ARCH_LOONGARCH64"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

void add_case(std::vector<SeccompCase>& cases, const SeccompCase& what) {
  // An unconditional rule takes the whole call, as libseccomp has it; among equals the first.
  if (!cases.empty() && cases.front().conditions.empty()) return;
  if (what.conditions.empty()) cases.clear();
  cases.push_back(what);
}

}  // namespace

std::optional<uint32_t> seccomp_action(std::string_view name, uint32_t errno_value) {
  if (name == "SCMP_ACT_ALLOW") return SECCOMP_RET_ALLOW;
  if (name == "SCMP_ACT_ERRNO") return SECCOMP_RET_ERRNO | (errno_value & SECCOMP_RET_DATA);
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") return SECCOMP_RET_KILL_THREAD;
  if (name == "SCMP_ACT_KILL_PROCESS") return SECCOMP_RET_KILL_PROCESS;
  if (name == "SCMP_ACT_TRAP") return SECCOMP_RET_TRAP;
  if (name == "SCMP_ACT_TRACE") return SECCOMP_RET_TRACE | (errno_value & SECCOMP_RET_DATA);
  if (name == "SCMP_ACT_LOG") return SECCOMP_RET_LOG;
  return std::nullopt;
}

std::optional<SeccompCompare> seccomp_compare(std::string_view name) {
  static constexpr std::pair<std::string_view, SeccompCompare> kNames[] = {
      {"SCMP_CMP_EQ", SeccompCompare::kEqual},       {"SCMP_CMP_NE", SeccompCompare::kNotEqual},
      {"SCMP_CMP_LT", SeccompCompare::kLess},        {"SCMP_CMP_LE", SeccompCompare::kLessEqual},
      {"SCMP_CMP_GT", SeccompCompare::kGreater},     {"SCMP_CMP_GE", SeccompCompare::kGreaterEqual},
      {"SCMP_CMP_MASKED_EQ", SeccompCompare::kMaskedEqual}};
  for (auto [text, value] : kNames)
    if (name == text) return value;
  return std::nullopt;
}

Result<SeccompProgram> resolve_seccomp(const NamedSeccompProgram& program) {
  SeccompProgram out;
  out.default_action = program.default_action;
  out.other_arch_action = SECCOMP_RET_KILL_THREAD;
  for (const auto& name : program.arches)
    if (!foreign_arch(name)) return fail(ErrorKind::kInvalid, "unknown seccomp architecture %s", quoted(name).c_str());
  // A refusal by errno is a statement about what the author knew; what came later is "no such call", so
  // that programs take their fallback.
  uint32_t kind = program.default_action & SECCOMP_RET_ACTION_FULL;
  bool answer_newer = kind == SECCOMP_RET_ERRNO;
  for (const auto& arch : kArches) {
    bool listed = std::find(program.arches.begin(), program.arches.end(), arch.name) != program.arches.end();
    if (!listed && &arch != &kArches[0]) continue;
    SeccompArch* target = nullptr;
    for (auto& known : out.arches)
      if (known.audit_arch == arch.audit_arch) target = &known;
    if (!target) target = &out.arches.emplace_back(SeccompArch{arch.audit_arch, {}, {}});
    uint32_t newest = arch.number_bit;
    for (const auto& rule : program.rules) {
      auto number = number_of(arch, rule.call);
      if (!number) continue;
      newest = std::max(newest, *number);
      if (rule.what.action != program.default_action || !rule.what.conditions.empty())
        add_case(target->calls[*number], rule.what);
    }
    if (answer_newer) target->newer_from.emplace_back(arch.number_bit, newest + 1);
  }
#if defined(__x86_64__)
  // Without x32 in the list its numbers are none of ours: an unknown architecture, not "newer".
  auto& native = out.arches.front();
  if (answer_newer && native.newer_from.size() == 1) native.newer_from.emplace_back(0x40000000, UINT32_MAX);
#endif
  return out;
}

std::optional<uint32_t> seccomp_flag(std::string_view name) {
  if (name == "SECCOMP_FILTER_FLAG_TSYNC") return 0;  // one thread only when it is loaded
  if (name == "SECCOMP_FILTER_FLAG_LOG") return SECCOMP_FILTER_FLAG_LOG;
  if (name == "SECCOMP_FILTER_FLAG_SPEC_ALLOW") return SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  return std::nullopt;
}

}  // namespace caisson::sys
