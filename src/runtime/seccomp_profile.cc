// SPDX-License-Identifier: Apache-2.0
// Docker's profile JSON -> the OCI section for one container, and the section -> a kernel filter.
#include "runtime/seccomp_profile.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sys/utsname.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "base/log.h"
#include "base/text.h"
#include "runtime/default_spec.h"
#include "sys/files.h"
#include "sys/seccomp.h"

namespace caisson::runtime {

struct ProfileConditions {
  std::vector<std::string> caps, arches;
  std::string min_kernel;
};
CAISSON_JSON(ProfileConditions, CAISSON_FIELD_OMIT("caps", caps), CAISSON_FIELD_OMIT("arches", arches),
             CAISSON_FIELD_OMIT("minKernel", min_kernel))

struct ProfileSyscall {
  std::string name;
  std::vector<std::string> names;
  std::string action;
  std::optional<uint32_t> errno_ret;
  std::vector<spec::OciSeccompArg> args;
  ProfileConditions includes, excludes;
};
CAISSON_JSON(ProfileSyscall, CAISSON_FIELD_OMIT("name", name), CAISSON_FIELD_OMIT("names", names),
             CAISSON_FIELD("action", action), CAISSON_FIELD_OMIT("errnoRet", errno_ret),
             CAISSON_FIELD_OMIT("args", args), CAISSON_FIELD("includes", includes), CAISSON_FIELD("excludes", excludes))

struct ProfileArch {
  std::string architecture;
  std::vector<std::string> sub_architectures;
};
CAISSON_JSON(ProfileArch, CAISSON_FIELD("architecture", architecture),
             CAISSON_FIELD_OMIT("subArchitectures", sub_architectures))

struct Profile {
  std::string default_action;
  std::optional<uint32_t> default_errno_ret;
  std::vector<std::string> architectures;
  std::vector<ProfileArch> arch_map;
  std::vector<std::string> flags;
  std::string listener_path, listener_metadata;
  std::vector<ProfileSyscall> syscalls;
};
CAISSON_JSON(Profile, CAISSON_FIELD("defaultAction", default_action),
             CAISSON_FIELD_OMIT("defaultErrnoRet", default_errno_ret),
             CAISSON_FIELD_OMIT("architectures", architectures), CAISSON_FIELD_OMIT("archMap", arch_map),
             CAISSON_FIELD_OMIT("flags", flags), CAISSON_FIELD_OMIT("listenerPath", listener_path),
             CAISSON_FIELD_OMIT("listenerMetadata", listener_metadata), CAISSON_FIELD_OMIT("syscalls", syscalls))

namespace {

constexpr size_t kMaxProfileBytes = 4 << 20;
// Part of every cache key: filters compiled by an older generator are not used.
constexpr const char* kGenerator = "caisson-seccomp-2";

bool has_capability(const SeccompContext& context, const std::string& name) {
  auto number = capability_number(name);
  return number && ((context.capabilities >> *number) & 1);
}

bool lists(const std::vector<std::string>& list, const std::string& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

Result<bool> applies(const ProfileSyscall& call, const SeccompContext& context) {
  if (lists(call.excludes.arches, context.arch)) return false;
  for (const auto& cap : call.excludes.caps)
    if (has_capability(context, cap)) return false;
  if (!call.includes.arches.empty() && !lists(call.includes.arches, context.arch)) return false;
  for (const auto& cap : call.includes.caps)
    if (!has_capability(context, cap)) return false;
  for (const auto* conditions : {&call.includes, &call.excludes}) {
    if (conditions->min_kernel.empty()) continue;
    auto wanted = parse_kernel_version(conditions->min_kernel);
    if (!wanted) return fail(ErrorKind::kInvalid, "invalid kernel version: %s", conditions->min_kernel.c_str());
    if ((context.kernel >= *wanted) != (conditions == &call.includes)) return false;
  }
  return true;
}

Result<spec::OciSeccomp> resolve_profile(const Profile& in, const SeccompContext& context) {
  if (!in.architectures.empty() && !in.arch_map.empty())
    return fail(ErrorKind::kInvalid,
                "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' "
                "or 'archMap'");
  spec::OciSeccomp out;
  out.default_action = in.default_action;
  out.default_errno_ret = in.default_errno_ret;
  out.architectures = in.architectures;
  out.flags = in.flags;
  out.listener_path = in.listener_path;
  out.listener_metadata = in.listener_metadata;
  const char* native = context.arch == "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64";
  for (const auto& entry : in.arch_map)
    if (entry.architecture == native) {
      out.architectures = {entry.architecture};
      out.architectures.insert(out.architectures.end(), entry.sub_architectures.begin(), entry.sub_architectures.end());
      break;
    }
  for (const auto& call : in.syscalls) {
    if (!call.name.empty() && !call.names.empty())
      return fail(ErrorKind::kInvalid,
                  "'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'");
    if (!TRY(applies(call, context))) continue;
    spec::OciSyscall rule{call.names, call.action, call.errno_ret, call.args};
    if (!call.name.empty()) rule.names.push_back(call.name);
    if (rule.names.empty()) continue;
    out.syscalls.push_back(std::move(rule));
  }
  return out;
}

Result<std::vector<sys::SeccompCase>> build_cases(const spec::OciSyscall& rule, uint32_t action) {
  std::vector<sys::SeccompCondition> conditions;
  bool repeated = false;
  for (const auto& arg : rule.args) {
    auto compare = sys::seccomp_compare(arg.op);
    if (!compare || arg.index > 5)
      return fail(ErrorKind::kInvalid, "seccomp argument %u with operator %s", arg.index, quoted(arg.op).c_str());
    for (const auto& earlier : conditions) repeated |= earlier.argument == arg.index;
    conditions.push_back({arg.index, *compare, arg.value, arg.value_two});
  }
  if (!repeated) return std::vector<sys::SeccompCase>{{conditions, action}};
  // DOCKER-QUIRK: two conditions on one argument are alternatives, and then all of the rule's are.
  std::vector<sys::SeccompCase> out;
  for (const auto& condition : conditions) out.push_back({{condition}, action});
  return out;
}

constexpr const char* kNotify = "SCMP_ACT_NOTIFY";

bool uses_notify(const spec::OciSeccomp& profile) {
  return std::any_of(profile.syscalls.begin(), profile.syscalls.end(),
                     [](const auto& rule) { return rule.action == kNotify; });
}

// The filter's descriptor is told of over a socket once the filter is there, so an agent that answers for
// write(2) could never be reached. In runc's words.
Result<> check_notify(const spec::OciSeccomp& profile) {
  if (profile.default_action == kNotify)
    return fail(ErrorKind::kInvalid, "seccomp: SCMP_ACT_NOTIFY cannot be used as default action");
  for (const auto& rule : profile.syscalls)
    if (rule.action == kNotify && lists(rule.names, "write"))
      return fail(ErrorKind::kInvalid, "seccomp: SCMP_ACT_NOTIFY cannot be used for the write syscall");
  if (uses_notify(profile) && profile.listener_path.empty())
    return fail(ErrorKind::kInvalid, "seccomp: SCMP_ACT_NOTIFY needs listenerPath");
  if (profile.listener_path.empty() && !profile.listener_metadata.empty())
    return fail(ErrorKind::kInvalid, "seccomp: listenerMetadata needs listenerPath");
  return {};
}

uint64_t fnv(std::string_view text, uint64_t hash) {
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3;
  return hash;
}

// 128 bits by two different walks; the cache directory is ours alone, so this guards against chance only.
std::string key_of(const std::string& text) {
  uint64_t forward = fnv(text, 0xcbf29ce484222325);
  uint64_t second = fnv(std::string(text.rbegin(), text.rend()), 0x84222325cbf29ce4 + text.size());
  return format("%016lx%016lx", forward, second);
}

}  // namespace

std::optional<KernelVersion> parse_kernel_version(std::string_view release) {
  size_t dot = release.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  auto major = parse_uint(release.substr(0, dot));
  release.remove_prefix(dot + 1);
  size_t digits = 0;
  while (digits < release.size() && release[digits] >= '0' && release[digits] <= '9') ++digits;
  auto minor = parse_uint(release.substr(0, digits));
  if (!major || !minor || *major > 1000 || *minor > 100000) return std::nullopt;
  return KernelVersion{static_cast<uint32_t>(*major), static_cast<uint32_t>(*minor)};
}

Result<SeccompContext> host_seccomp_context(uint64_t capabilities) {
  SeccompContext out;
  out.capabilities = capabilities;
#if defined(__aarch64__)
  out.arch = "arm64";
#else
  out.arch = "amd64";
#endif
  utsname name{};
  if (uname(&name) < 0) return fail_errno("uname");
  auto version = parse_kernel_version(name.release);
  if (!version) return fail(ErrorKind::kInternal, "kernel release %s has no version", quoted(name.release).c_str());
  out.kernel = *version;
  return out;
}

Result<spec::OciSeccomp> parse_seccomp_profile(std::string_view text, const SeccompContext& context) {
  auto refuse = [](Error error) -> std::unexpected<Error> {
    error.kind = ErrorKind::kInvalid;
    return with_context(std::move(error), "decoding seccomp profile failed");
  };
  if (text.size() > kMaxProfileBytes) return refuse(Error{ErrorKind::kInvalid, 0, "longer than 4 MiB"});
  auto profile = json::decode<Profile>(text);
  if (!profile) return refuse(std::move(profile).error());
  auto out = resolve_profile(*profile, context);
  if (!out) return refuse(std::move(out).error());
  // Names of actions and operators are checked now, so that `create` says it and not `start`.
  if (auto flags = seccomp_flags(*out); !flags) return refuse(std::move(flags).error());
  if (!sys::seccomp_action(out->default_action, 0))
    return refuse(
        Error{ErrorKind::kInvalid, 0, format("invalid default action %s", quoted(out->default_action).c_str())});
  for (const auto& rule : out->syscalls) {
    if (!sys::seccomp_action(rule.action, 0))
      return refuse(Error{ErrorKind::kInvalid, 0, format("invalid action %s", quoted(rule.action).c_str())});
    if (auto cases = build_cases(rule, 0); !cases) return refuse(std::move(cases).error());
  }
  return out;
}

Result<uint32_t> seccomp_flags(const spec::OciSeccomp& profile) {
  // Without a list, what runc does: no speculation penalty on kernels that would still impose it.
  uint32_t out = uses_notify(profile) ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0;
  if (profile.flags.empty()) return out | *sys::seccomp_flag("SECCOMP_FILTER_FLAG_SPEC_ALLOW");
  for (const auto& name : profile.flags) {
    auto flag = sys::seccomp_flag(name);
    if (!flag) return fail(ErrorKind::kUnsupported, "seccomp flag %s", quoted(name).c_str());
    out |= *flag;
  }
  constexpr uint32_t kWait = 1u << 5;  // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
  if (out & kWait && !(out & SECCOMP_FILTER_FLAG_NEW_LISTENER))
    return fail(ErrorKind::kInvalid,
                "seccomp flag 'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV' is for profiles with SCMP_ACT_NOTIFY");
  return out;
}

// The kernel would cut it down without a word.
static Result<> check_errno(const std::string& action, std::optional<uint32_t> number) {
  constexpr uint32_t kMaxErrno = 4095;
  if (action != "SCMP_ACT_ERRNO" || number.value_or(0) <= kMaxErrno) return {};
  return fail(ErrorKind::kInvalid, "seccomp: errnoRet %u is no error number, the largest is %u", *number, kMaxErrno);
}

Result<std::string> compile_seccomp(const spec::OciSeccomp& profile) {
  constexpr uint32_t kEperm = 1;
  sys::NamedSeccompProgram program;
  program.arches = profile.architectures;
  auto action = sys::seccomp_action(profile.default_action, profile.default_errno_ret.value_or(kEperm));
  if (!action)
    return fail(ErrorKind::kInvalid, "seccomp: invalid default action %s", quoted(profile.default_action).c_str());
  program.default_action = *action;
  TRY(check_notify(profile));
  TRY(check_errno(profile.default_action, profile.default_errno_ret));
  for (const auto& rule : profile.syscalls) {
    TRY(check_errno(rule.action, rule.errno_ret));
    if (rule.names.empty() || std::find(rule.names.begin(), rule.names.end(), "") != rule.names.end())
      return fail(ErrorKind::kInvalid, "seccomp: a rule has no name of a system call");
    auto what = sys::seccomp_action(rule.action, rule.errno_ret.value_or(kEperm));
    if (!what) return fail(ErrorKind::kInvalid, "seccomp: invalid action %s", quoted(rule.action).c_str());
    auto cases = TRY_CTX(build_cases(rule, *what), "seccomp");
    for (const auto& name : rule.names)
      for (const auto& one : cases) program.rules.push_back({name, one});
  }
  return sys::generate_seccomp(TRY(sys::resolve_seccomp(program)));
}

struct SeccompCache::State {
  std::string directory;
  std::mutex mutex;
  std::map<std::string, std::string> compiled, default_keys;

  std::optional<std::string> find(const std::string& key) {
    std::lock_guard lock(mutex);
    auto found = compiled.find(key);
    return found == compiled.end() ? std::nullopt : std::optional(found->second);
  }
};

SeccompCache::SeccompCache(std::string directory) : state_(std::make_unique<State>()) {
  state_->directory = std::move(directory);
}
SeccompCache::~SeccompCache() = default;

Result<std::string> SeccompCache::bpf_for(const spec::OciSeccomp& profile) {
  std::string key = key_of(kGenerator + json::encode(profile));
  if (auto known = state_->find(key)) return std::move(*known);
  std::string path = state_->directory.empty() ? "" : state_->directory + "/" + key;
  std::string filter;
  if (!path.empty())
    if (auto stored = sys::read_file(path, 1 << 20); stored && stored->size() >= 8 && stored->size() % 8 == 0)
      filter = std::move(*stored);
  if (filter.empty()) {
    filter = TRY(compile_seccomp(profile));
    if (!path.empty())
      if (auto saved = sys::replace_file(path, filter, 0600); !saved)
        log_debug("keep a compiled seccomp filter: %s, ignoring", saved.error().message.c_str());
  }
  std::lock_guard lock(state_->mutex);
  // Profiles come from users; a flood of different ones must not stay in memory.
  if (state_->compiled.size() >= 64) state_->compiled.clear();
  state_->compiled.emplace(key, filter);
  return filter;
}

Result<std::string> SeccompCache::default_bpf(const SeccompContext& context) {
  std::string name =
      format("%s/%u.%u/%lx", context.arch.c_str(), context.kernel.major, context.kernel.minor, context.capabilities);
  {
    std::lock_guard lock(state_->mutex);
    auto key = state_->default_keys.find(name);
    if (key != state_->default_keys.end())
      if (auto found = state_->compiled.find(key->second); found != state_->compiled.end()) return found->second;
  }
  auto profile = default_seccomp(context);
  std::string key = key_of(kGenerator + json::encode(profile));
  auto filter = TRY(bpf_for(profile));
  std::lock_guard lock(state_->mutex);
  if (state_->default_keys.size() >= 1024) state_->default_keys.clear();
  state_->default_keys[name] = key;
  return filter;
}

}  // namespace caisson::runtime
