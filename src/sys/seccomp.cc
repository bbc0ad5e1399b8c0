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
    {"memfd_secret", 447},      {"process_mrelease", 448},  {"futex_waitv", 449},      {"set_mempolicy_home_node", 450},
    {"cachestat", 451},         {"fchmodat2", 452},         {"map_shadow_stack", 453}, {"futex_wake", 454},
    {"futex_wait", 455},        {"futex_requeue", 456},     {"statmount", 457},        {"listmount", 458},
    {"lsm_get_self_attr", 459}, {"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462},
    {"setxattrat", 463},        {"getxattrat", 464},        {"listxattrat", 465},      {"removexattrat", 466},
    {"open_tree_attr", 467},    {"file_getattr", 468},      {"file_setattr", 469},
};

struct Arch {
  const char* name;
  uint32_t token;  // libseccomp's
  uint32_t audit_arch;
  uint32_t number_bit;  // set in every number of this architecture
  bool narrow;          // libseccomp compares 32 bits of an argument there
};
#if defined(__x86_64__)
constexpr Arch kArches[] = {{"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64, 0, false},
                            {"SCMP_ARCH_X86", SCMP_ARCH_X86, AUDIT_ARCH_I386, 0, true},
                            {"SCMP_ARCH_X32", SCMP_ARCH_X32, AUDIT_ARCH_X86_64, 0x40000000, true}};
#elif defined(__aarch64__)
constexpr Arch kArches[] = {{"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64, AUDIT_ARCH_AARCH64, 0, false},
                            {"SCMP_ARCH_ARM", SCMP_ARCH_ARM, AUDIT_ARCH_ARM, 0, true}};
#else
#error "architecture without a seccomp table"
#endif

// 32-bit x86 has its socket and System V calls twice: as cases of socketcall(2) and ipc(2), which libseccomp
// numbers -100 - case and -200 - case, and since Linux 4.3 and 5.1 by themselves.
struct DirectCall {
  int multiplexed;
  uint32_t number;
};
constexpr DirectCall kDirectCalls[] = {{-101, 359}, {-102, 361}, {-103, 362}, {-104, 363}, {-106, 367}, {-107, 368},
                                       {-108, 360}, {-111, 369}, {-112, 371}, {-113, 373}, {-114, 366}, {-115, 365},
                                       {-116, 370}, {-117, 372}, {-118, 364}, {-119, 337}, {-120, 345}, {-202, 393},
                                       {-203, 394}, {-211, 400}, {-212, 401}, {-213, 399}, {-214, 402}, {-221, 397},
                                       {-222, 398}, {-223, 395}, {-224, 396}};
constexpr uint32_t kSocketcall = 102, kIpc = 117;

// Where a rule for a call goes: a number, and for a multiplexer the case that its first argument tells.
struct Place {
  uint32_t number;
  std::optional<uint32_t> multiplexed_case;
};

std::vector<Place> places_of(const Arch& arch, const std::string& name) {
  int number = seccomp_syscall_resolve_name_arch(arch.token, name.c_str());
  if (number >= 0) return {{static_cast<uint32_t>(number), std::nullopt}};
  if (arch.audit_arch == AUDIT_ARCH_I386 && number <= -101 && number >= -224) {
    bool socket = number >= -120;
    std::vector<Place> out = {{socket ? kSocketcall : kIpc, static_cast<uint32_t>(-number - (socket ? 100 : 200))}};
    for (const auto& call : kDirectCalls)
      if (call.multiplexed == number) out.push_back({call.number, std::nullopt});
    return out;
  }
  // Negative: unknown to libseccomp, or not there on this architecture.
  for (const auto& call : kNewCalls)
    if (name == call.name) return {{call.number | arch.number_bit, std::nullopt}};
  if (name == "uretprobe" && std::string_view(arch.name) == "SCMP_ARCH_X86_64") return {{335, std::nullopt}};
  return {};
}

SeccompCase case_at(const Place& place, const SeccompCase& what) {
  if (!place.multiplexed_case) return what;
  // The multiplexer's first argument is its case, so a condition on the call's own first argument cannot be
  // kept: it is left out, as libseccomp does.
  SeccompCase out;
  out.action = what.action;
  out.conditions.push_back({0, SeccompCompare::kEqual, *place.multiplexed_case, 0});
  for (const auto& condition : what.conditions)
    if (condition.argument != 0) out.conditions.push_back(condition);
  return out;
}

// Known architectures that a profile may list but this machine cannot run.
bool foreign_arch(std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "SCMP_ARCH_X86_64",      "SCMP_ARCH_X86",      "SCMP_ARCH_X32",        "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM",
      "SCMP_ARCH_MIPS",        "SCMP_ARCH_MIPS64",   "SCMP_ARCH_MIPS64N32",  "SCMP_ARCH_MIPSEL",  "SCMP_ARCH_MIPSEL64",
      "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC",      "SCMP_ARCH_PPC64",      "SCMP_ARCH_PPC64LE", "SCMP_ARCH_S390",
      "SCMP_ARCH_S390X",       "SCMP_ARCH_M68K",     "SCMP_ARCH_SH",         "SCMP_ARCH_SHEB",    "SCMP_ARCH_RISCV64",
      "SCMP_ARCH_PARISC",      "SCMP_ARCH_PARISC64", "SCMP_ARCH_LOONGARCH64"};
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
  if (name == "SCMP_ACT_NOTIFY") return SECCOMP_RET_USER_NOTIF;
  return std::nullopt;
}

std::optional<SeccompCompare> seccomp_compare(std::string_view name) {
  static constexpr std::pair<std::string_view, SeccompCompare> kNames[] = {
      {"SCMP_CMP_EQ", SeccompCompare::kEqual},
      {"SCMP_CMP_NE", SeccompCompare::kNotEqual},
      {"SCMP_CMP_LT", SeccompCompare::kLess},
      {"SCMP_CMP_LE", SeccompCompare::kLessEqual},
      {"SCMP_CMP_GT", SeccompCompare::kGreater},
      {"SCMP_CMP_GE", SeccompCompare::kGreaterEqual},
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
  // What is not allowed by default is so for the calls that the author knew; what came later is "no such call",
  // so that programs take their fallback.
  uint32_t kind = program.default_action & SECCOMP_RET_ACTION_FULL;
  bool answer_newer = kind != SECCOMP_RET_ALLOW && kind != SECCOMP_RET_LOG && kind != SECCOMP_RET_TRACE;
  for (const auto& arch : kArches) {
    bool listed = std::find(program.arches.begin(), program.arches.end(), arch.name) != program.arches.end();
    if (!listed && &arch != &kArches[0]) continue;
    SeccompArch* target = nullptr;
    for (auto& known : out.arches)
      if (known.audit_arch == arch.audit_arch) target = &known;
    if (!target) target = &out.arches.emplace_back();
    target->audit_arch = arch.audit_arch;
    if (arch.narrow) target->narrow_from = arch.number_bit;
    uint32_t newest = arch.number_bit;
    for (const auto& rule : program.rules)
      for (const auto& place : places_of(arch, rule.call)) {
        newest = std::max(newest, place.number);
        // A rule that says what the default says is none, even where an earlier one says otherwise: as in runc.
        if (rule.what.action != program.default_action)
          add_case(target->calls[place.number], case_at(place, rule.what));
      }
    // With no call but the very first one named, the profile does not tell when it was written.
    bool dated = newest != arch.number_bit;
    if (answer_newer) target->newer_from.emplace_back(arch.number_bit, dated ? newest + 1 : 0);
  }
#if defined(__x86_64__)
  bool has_x32 = std::find(program.arches.begin(), program.arches.end(), "SCMP_ARCH_X32") != program.arches.end();
  if (!has_x32) out.arches.front().foreign_from = 0x40000000;
#endif
  return out;
}

std::optional<uint32_t> seccomp_flag(std::string_view name) {
  if (name == "SECCOMP_FILTER_FLAG_TSYNC") return 0;  // one thread only when it is loaded
  if (name == "SECCOMP_FILTER_FLAG_LOG") return SECCOMP_FILTER_FLAG_LOG;
  if (name == "SECCOMP_FILTER_FLAG_SPEC_ALLOW") return SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  if (name == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV") return 1u << 5;  // newer than some headers
  return std::nullopt;
}

}  // namespace caisson::sys
