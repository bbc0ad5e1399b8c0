// SPDX-License-Identifier: Apache-2.0
// Our filters against those libseccomp generates from the same profile by the way runc goes, and against the words
// of the profile: random profiles, random calls, both filters run by the same evaluator. libseccomp 2.5.4 loses a
// rule now and then where conditions on both halves of an argument meet in its tree; there the words decide.
#include <doctest/doctest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>

#include "base/text.h"
#include "base/unique_fd.h"
#include "runtime/seccomp_profile.h"
#include "sys/files.h"
#include "sys/seccomp.h"

#if defined(__x86_64__)

// libseccomp keeps what it has collected for a filter that it gives up on.
extern "C" const char* __lsan_default_suppressions() { return "leak:libseccomp.so"; }

namespace caisson::runtime {

// Without those that 32-bit x86 has behind a multiplexer only, and masks that leave out half of an argument:
// libseccomp 2.5.4 loses rules for both.
static constexpr const char* kCalls[] = {"read",  "write",        "personality", "socket",  "socketcall", "clone",
                                         "ioctl", "msgrcv",       "semget",      "ipc",     "mmap2",      "prctl",
                                         "mount", "openat",       "close",       "accept4", "connect",    "sendmsg",
                                         "shmat", "no_such_call", "fchmodat2",   "rseq"};
static constexpr const char* kOperators[] = {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE",       "SCMP_CMP_EQ",
                                             "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"};
static constexpr const char* kActions[] = {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP",
                                           "SCMP_ACT_LOG",   "SCMP_ACT_TRACE", "SCMP_ACT_KILL"};
static constexpr uint64_t kValues[] = {
    0, 1, 2, 5, 40, 0x7e020000, 0xffffffff, 0x100000000, 0x100000005, 0xffffffff00000000, ~uint64_t{0}};

struct Random {
  std::mt19937 engine;
  uint32_t below(size_t n) { return static_cast<uint32_t>(engine() % n); }
  template <class T, size_t n>
  T pick(const T (&from)[n]) {
    return from[below(n)];
  }
};

enum class Rules {
  kOnePerCall,    // with conditions of all kinds
  kAlternatives,  // several for a call, all of one action; equalities only
  kAll,
};

static spec::OciSeccompArg random_condition(Random& random, Rules kind) {
  spec::OciSeccompArg arg;
  arg.index = random.below(6);
  arg.op =
      kind == Rules::kAlternatives ? (random.below(2) ? "SCMP_CMP_EQ" : "SCMP_CMP_MASKED_EQ") : random.pick(kOperators);
  arg.value = random.pick(kValues);
  arg.value_two = random.pick(kValues);
  if (arg.op == "SCMP_CMP_MASKED_EQ") {
    arg.value =
        random.pick({~uint64_t{0}, uint64_t{0x7e02000000000001}, uint64_t{0xf0000000f}, uint64_t{0x8000000080000000}});
    arg.value_two &= arg.value;  // bits outside the mask can never be there
  }
  return arg;
}

static spec::OciSeccomp random_profile(Random& random, Rules kind) {
  spec::OciSeccomp out;
  out.default_action = random.pick(kActions);
  if (random.below(3) == 0) out.default_errno_ret = 1 + random.below(40);
  for (const char* arch : {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"})
    if (random.below(2)) out.architectures.push_back(arch);
  std::map<std::string, spec::OciSyscall> first_of;
  for (size_t rules = random.below(14); rules > 0; --rules) {
    spec::OciSyscall rule;
    rule.names = {random.pick(kCalls)};
    rule.action = random.pick(kActions);
    if (random.below(2)) rule.errno_ret = random.below(200);
    for (size_t n = random.below(3) ? random.below(4) : 0; n > 0; --n) {
      rule.args.push_back(random_condition(random, kind));
      if (kind == Rules::kOnePerCall)
        for (size_t i = 0; i + 1 < rule.args.size(); ++i)
          if (rule.args[i].index == rule.args.back().index) {
            rule.args.pop_back();
            break;
          }
    }
    auto [first, fresh] = first_of.emplace(rule.names[0], rule);
    if (!fresh && kind == Rules::kOnePerCall) continue;
    if (!fresh && kind == Rules::kAlternatives) {
      rule.action = first->second.action;
      rule.errno_ret = first->second.errno_ret;
    }
    // What reaches a multiplexer meets other rules there.
    bool multiplexed = rule.names[0] == "socketcall" || rule.names[0] == "ipc";
    if (multiplexed && kind != Rules::kAll) continue;
    out.syscalls.push_back(std::move(rule));
  }
  return out;
}

static uint32_t library_action(const std::string& name, std::optional<uint32_t> value) {
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(value.value_or(EPERM));
  if (name == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  if (name == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  if (name == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(value.value_or(EPERM));
  return SCMP_ACT_KILL_THREAD;
}

static scmp_compare library_operator(const std::string& name) {
  if (name == "SCMP_CMP_NE") return SCMP_CMP_NE;
  if (name == "SCMP_CMP_LT") return SCMP_CMP_LT;
  if (name == "SCMP_CMP_LE") return SCMP_CMP_LE;
  if (name == "SCMP_CMP_EQ") return SCMP_CMP_EQ;
  if (name == "SCMP_CMP_GE") return SCMP_CMP_GE;
  if (name == "SCMP_CMP_GT") return SCMP_CMP_GT;
  return SCMP_CMP_MASKED_EQ;
}

// nullopt where libseccomp refuses the profile.
static std::optional<std::string> library_filter(const spec::OciSeccomp& profile) {
  uint32_t fallback = library_action(profile.default_action, profile.default_errno_ret);
  scmp_filter_ctx context = seccomp_init(fallback);
  REQUIRE(context);
  std::unique_ptr<void, void (*)(void*)> owner(context, [](void* c) { seccomp_release(c); });
  for (const auto& arch : profile.architectures) {
    uint32_t token = arch == "SCMP_ARCH_X86"   ? SCMP_ARCH_X86
                     : arch == "SCMP_ARCH_X32" ? SCMP_ARCH_X32
                                               : SCMP_ARCH_X86_64;
    if (int err = seccomp_arch_add(context, token); err < 0 && err != -EEXIST) return std::nullopt;
  }
  for (const auto& rule : profile.syscalls) {
    uint32_t action = library_action(rule.action, rule.errno_ret);
    if (action == fallback) continue;
    std::vector<scmp_arg_cmp> args;
    bool repeated = false;
    for (const auto& arg : rule.args) {
      for (const auto& earlier : args) repeated |= earlier.arg == arg.index;
      args.push_back({arg.index, library_operator(arg.op), arg.value, arg.value_two});
    }
    for (const auto& name : rule.names) {
      int number = seccomp_syscall_resolve_name(name.c_str());
      if (number == __NR_SCMP_ERROR) continue;
      int err = 0;
      if (!repeated)
        err = seccomp_rule_add_array(context, action, number, static_cast<unsigned>(args.size()), args.data());
      else
        for (const auto& arg : args)
          if (err == 0) err = seccomp_rule_add_array(context, action, number, 1, &arg);
      if (err < 0) return std::nullopt;
    }
  }
  UniqueFd file(memfd_create("filter", MFD_CLOEXEC));
  REQUIRE(file);
  if (seccomp_export_bpf(context, file.get()) < 0) return std::nullopt;
  lseek(file.get(), 0, SEEK_SET);
  return *sys::read_fd(file.get());
}

// What runc puts in front of the filter.
static bool newer_than_profile(const spec::OciSeccomp& profile, uint32_t arch, uint32_t number) {
  if (profile.default_action == "SCMP_ACT_ALLOW" || profile.default_action == "SCMP_ACT_LOG" ||
      profile.default_action == "SCMP_ACT_TRACE")
    return false;
  auto has = [&](const char* name) {
    return std::find(profile.architectures.begin(), profile.architectures.end(), name) != profile.architectures.end();
  };
  bool x32 = arch == AUDIT_ARCH_X86_64 && (number & 0x40000000);
  if (x32 && !has("SCMP_ARCH_X32")) return false;
  if (arch != AUDIT_ARCH_X86_64 && !(arch == AUDIT_ARCH_I386 && has("SCMP_ARCH_X86"))) return false;
  uint32_t token = x32 ? SCMP_ARCH_X32 : arch == AUDIT_ARCH_I386 ? SCMP_ARCH_X86 : SCMP_ARCH_X86_64;
  // The direct numbers of multiplexed calls count here and do not in runc, which so answers ENOSYS to calls that
  // the profile names.
  static const std::map<std::string, int> kDirect = {{"socket", 359}, {"accept4", 364}, {"sendmsg", 370},
                                                     {"semget", 393}, {"shmat", 397},   {"connect", 362},
                                                     {"msgrcv", 401}};
  int last = 0;
  for (const auto& rule : profile.syscalls)
    for (const auto& name : rule.names) {
      int found = seccomp_syscall_resolve_name_arch(token, name.c_str());
      if (name == "fchmodat2" && found < 0) found = x32 ? 0x40000000 + 452 : 452;  // newer than the library
      if (auto direct = kDirect.find(name); direct != kDirect.end() && token == SCMP_ARCH_X86) found = direct->second;
      last = std::max(last, found);
    }
  if (last == 0 || (x32 && last == 0x40000000)) return false;
  return number > static_cast<uint32_t>(last);
}

static bool holds(const spec::OciSeccompArg& arg, uint64_t value) {
  if (arg.op == "SCMP_CMP_NE") return value != arg.value;
  if (arg.op == "SCMP_CMP_LT") return value < arg.value;
  if (arg.op == "SCMP_CMP_LE") return value <= arg.value;
  if (arg.op == "SCMP_CMP_EQ") return value == arg.value;
  if (arg.op == "SCMP_CMP_GE") return value >= arg.value;
  if (arg.op == "SCMP_CMP_GT") return value > arg.value;
  return (value & arg.value) == arg.value_two;
}

// What a profile says by its words, for a call that is not newer than it. `narrow`: arguments have 32 bits.
static uint32_t by_the_words(const spec::OciSeccomp& profile, const std::string& call, const uint64_t (&args)[6],
                             bool narrow = false) {
  uint32_t fallback = *sys::seccomp_action(profile.default_action, profile.default_errno_ret.value_or(EPERM));
  std::optional<uint32_t> conditional;
  for (const auto& rule : profile.syscalls) {
    uint32_t action = *sys::seccomp_action(rule.action, rule.errno_ret.value_or(EPERM));
    if (rule.names[0] != call || action == fallback) continue;
    if (rule.args.empty()) return action;
    bool repeated = false, all = true, any = false;
    for (size_t i = 0; i < rule.args.size(); ++i) {
      for (size_t k = 0; k < i; ++k) repeated |= rule.args[k].index == rule.args[i].index;
      auto condition = rule.args[i];
      uint64_t mask = narrow ? 0xffffffff : ~uint64_t{0};
      condition.value &= mask;
      condition.value_two &= mask;
      bool here = holds(condition, args[condition.index] & mask);
      all &= here;
      any |= here;
    }
    if (!conditional && (repeated ? any : all)) conditional = action;
  }
  return conditional.value_or(fallback);
}

struct Tally {
  size_t profiles = 0, refused = 0, calls = 0, library_wrong = 0, different = 0;
  std::string first;
};

static void compare(Random& random, Rules kind, Tally& tally) {
  auto profile = random_profile(random, kind);
  auto theirs = library_filter(profile);
  auto ours = compile_seccomp(profile);
  if (!ours) FAIL(ours.error().message);
  if (!theirs) {
    ++tally.refused;
    return;
  }
  ++tally.profiles;
  std::vector<uint32_t> numbers = {
      0,          1,   135, 335, 452, 453, 9999, 0x40000000, 0x40000000 + 135, 0x40000000 + 9999,
      0xffffffff, 102, 117, 359, 360, 393, 397};
  for (const auto& rule : profile.syscalls)
    for (const auto& name : rule.names)
      for (uint32_t token : std::initializer_list<uint32_t>{SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32})
        if (int number = seccomp_syscall_resolve_name_arch(token, name.c_str()); number >= 0)
          numbers.push_back(static_cast<uint32_t>(number));
  for (uint32_t number : numbers)
    for (uint32_t arch : std::initializer_list<uint32_t>{AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64})
      for (int round = 0; round < 6; ++round) {
        uint64_t args[6];
        for (auto& arg : args) arg = random.pick(kValues) + (random.below(4) ? 0 : random.below(3) - 1);
        // The kernel hands on what such registers hold: 32 bits.
        if (arch == AUDIT_ARCH_I386)
          for (auto& arg : args) arg &= 0xffffffff;
        if (random.below(2)) args[0] = random.below(24);  // cases of the multiplexers
        // The library has never heard of it, and there our table is ahead.
        if (number == 452 || number == 0x40000000 + 452) continue;
        uint32_t want = newer_than_profile(profile, arch, number) ? SECCOMP_RET_ERRNO | uint32_t{ENOSYS}
                                                                  : sys::run_seccomp(*theirs, arch, number, args);
        uint32_t got = sys::run_seccomp(*ours, arch, number, args);
        ++tally.calls;
        if (want == got) continue;
        bool x32 = number & 0x40000000, x86 = arch == AUDIT_ARCH_I386;
        char* name = seccomp_syscall_resolve_num_arch(x32   ? SCMP_ARCH_X32
                                                      : x86 ? SCMP_ARCH_X86
                                                            : SCMP_ARCH_X86_64,
                                                      static_cast<int>(number));
        bool agreed = name && by_the_words(profile, name, args, x32 || x86) == got;
        free(name);
        if (agreed) {
          ++tally.library_wrong;
          continue;
        }
        if (++tally.different > 1) continue;
        tally.first = format("arch %x number %x args %lx %lx %lx %lx %lx %lx: %x, libseccomp %x, profile ", arch,
                             number, args[0], args[1], args[2], args[3], args[4], args[5], got, want) +
                      json::encode(profile);
      }
}

TEST_CASE("filters answer as those of libseccomp") {
  for (Rules kind : {Rules::kOnePerCall, Rules::kAlternatives}) {
    Random random{std::mt19937(20240601)};
    Tally tally;
    for (int i = 0; i < 1500; ++i) compare(random, kind, tally);
    INFO(tally.first);
    CHECK(tally.different == 0);
    CHECK(tally.profiles > 1400);
    CHECK(tally.library_wrong < tally.calls / 1000);
  }
}

TEST_CASE("filters answer as the words of the profile say") {
  Random random{std::mt19937(42)};
  for (int i = 0; i < 3000; ++i) {
    auto profile = random_profile(random, Rules::kAll);
    auto filter = compile_seccomp(profile);
    REQUIRE(filter);
    for (const auto& rule : profile.syscalls) {
      int number = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, rule.names[0].c_str());
      if (number < 0) continue;
      for (int round = 0; round < 20; ++round) {
        uint64_t args[6];
        for (auto& arg : args) arg = random.pick(kValues) + (random.below(4) ? 0 : random.below(3) - 1);
        uint32_t want = by_the_words(profile, rule.names[0], args);
        uint32_t got = sys::run_seccomp(*filter, AUDIT_ARCH_X86_64, static_cast<uint32_t>(number), args);
        if (want != got) FAIL(rule.names[0], ": ", got, " instead of ", want, ", profile ", json::encode(profile));
      }
    }
  }
}

}  // namespace caisson::runtime

#endif
