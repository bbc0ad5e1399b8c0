// SPDX-License-Identifier: Apache-2.0
// Flags for what containers get that do not say themselves, and those that other engines need and this one does not.
#include "base/text.h"
#include "cmd/caissond/daemon_flags.h"
#include "sys/files.h"

namespace caisson {

Result<int64_t> parse_size(const std::string& value) {
  size_t digits = value.find_first_not_of("0123456789");
  auto number = parse_uint(value.substr(0, digits));
  std::string unit = digits == value.npos ? "" : to_lower(value.substr(digits));
  if (unit.ends_with('b')) unit.pop_back();
  if (unit.ends_with('i')) unit.pop_back();
  static constexpr std::string_view kUnits = "kmgt";
  size_t at = unit.empty() ? 0 : kUnits.find(unit) + 1;
  if (!number || unit.size() > 1 || (!unit.empty() && at == 0) || *number > (uint64_t{1} << 50) >> (10 * at))
    return fail(ErrorKind::kInvalid, "invalid size: %s", quoted(value).c_str());
  return static_cast<int64_t>(*number << (10 * at));
}

namespace {

constexpr std::string_view kLimits[] = {"as",   "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue",
                                        "nice", "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};

// "nofile=1024:2048", "nofile=1024"; -1 for none.
Result<> add_ulimit(DaemonOptions& options, const std::string& text) {
  auto pair = split_once(text, '=');
  if (!pair) return fail(ErrorKind::kInvalid, "invalid ulimit argument: %s", text.c_str());
  bool known = false;
  for (std::string_view name : kLimits) known = known || name == pair->first;
  if (!known) return fail(ErrorKind::kInvalid, "invalid ulimit type: %s", pair->first.c_str());
  auto parts = split(pair->second, ':');
  auto soft = parse_int(parts[0]), hard = parts.size() > 1 ? parse_int(parts[1]) : soft;
  if (!soft || !hard || parts.size() > 2)
    return fail(ErrorKind::kInvalid, "invalid ulimit value: %s", quoted(pair->second).c_str());
  if (*hard != -1 && (*soft > *hard || *soft == -1))
    return fail(ErrorKind::kInvalid, "ulimit soft limit must be less than or equal to hard limit: %s > %s",
                parts[0].c_str(), parts[parts.size() - 1].c_str());
  options.engine.default_ulimits[pair->first] = {*soft, *hard};
  return {};
}

bool is_ours(const std::string& runtime) {
  return runtime == "caisson" || runtime == "runc" || runtime == "io.containerd.runc.v2";
}

template <size_t N>
Result<> choose(std::string& target, const std::string& value, const char* what, const char* const (&known)[N]) {
  for (const char* word : known) {
    if (value != word) continue;
    target = value;
    return {};
  }
  return fail(ErrorKind::kInvalid, "%s: %s", what, quoted(value).c_str());
}

Result<> needless(DaemonOptions& options, const char* flag) {
  options.notices.push_back(format("--%s is accepted and does nothing: there is no containerd here", flag));
  return {};
}

constexpr Flag kFlags[] = {
    {.name = "add-runtime",
     .key = "runtimes",
     .argument = "NAME=PATH",
     .help = "Refused, unless it names the engine's own runtime: containers run with no other",
     .apply = [](DaemonOptions&, const std::string& v) -> Result<> {
       auto pair = split_once(v, '=');
       std::string name = pair ? pair->first : v;
       if (is_ours(name)) return fail(ErrorKind::kInvalid, "runtime name '%s' is reserved", name.c_str());
       return fail(ErrorKind::kUnsupported, "runtime '%s' cannot be added: containers run with the engine's own",
                   name.c_str());
     },
     .form = FlagForm::kMap},
    {.name = "containerd",
     .key = "containerd",
     .argument = "SOCKET",
     .help = "Accepted, does nothing",
     .apply = [](DaemonOptions& o, const std::string&) -> Result<> { return needless(o, "containerd"); }},
    {.name = "containerd-namespace",
     .key = "containerd-namespace",
     .argument = "NAME",
     .help = "Accepted, does nothing",
     .apply = [](DaemonOptions& o, const std::string&) -> Result<> { return needless(o, "containerd-namespace"); }},
    {.name = "containerd-plugins-namespace",
     .key = "containerd-plugin-namespace",
     .argument = "NAME",
     .help = "Accepted, does nothing",
     .apply = [](DaemonOptions& o, const std::string&) -> Result<> {
       return needless(o, "containerd-plugins-namespace");
     }},
    {.name = "cri-containerd",
     .key = "cri-containerd",
     .argument = nullptr,
     .help = "Accepted, does nothing",
     .apply = [](DaemonOptions& o, const std::string&) -> Result<> { return needless(o, "cri-containerd"); }},
    {.name = "default-cgroupns-mode",
     .key = "default-cgroupns-mode",
     .argument = "MODE",
     .help = "Control group namespace of containers: private or host (default private)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       return choose(o.engine.default_cgroupns_mode, v, "invalid default cgroup namespace", {"private", "host"});
     }},
    {.name = "default-ipc-mode",
     .key = "default-ipc-mode",
     .argument = "MODE",
     .help = "IPC namespace of containers: private or shareable (default private)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       return choose(o.engine.default_ipc_mode, v, "IPC mode is not allowed as a default", {"private", "shareable"});
     }},
    {.name = "default-runtime",
     .key = "default-runtime",
     .argument = "NAME",
     .help = "Only the engine's own: caisson, or runc for the same",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       if (!is_ours(v)) return fail(ErrorKind::kInvalid, "specified default runtime '%s' does not exist", v.c_str());
       o.engine.default_runtime = v;
       return {};
     },
     .reloadable = true},
    {.name = "default-shm-size",
     .key = "default-shm-size",
     .argument = "BYTES",
     .help = "Size of /dev/shm of containers (default 64MiB)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.default_shm_size = TRY(parse_size(v));
       return {};
     },
     .reloadable = true},
    {.name = "default-ulimit",
     .key = "default-ulimits",
     .argument = "NAME=SOFT[:HARD]",
     .help = "Limit of containers' processes; may be repeated",
     .apply = add_ulimit,
     .form = FlagForm::kMap},
    {.name = "exec-opt",
     .key = "exec-opts",
     .argument = "KEY=VALUE",
     .help = "native.cgroupdriver=cgroupfs, which is the default",
     .apply = [](DaemonOptions&, const std::string& v) -> Result<> {
       if (v == "native.cgroupdriver=cgroupfs") return {};
       if (v.starts_with("native.cgroupdriver="))
         return fail(ErrorKind::kUnsupported, "control group driver %s: the engine makes control groups itself",
                     quoted(v.substr(20)).c_str());
       return fail(ErrorKind::kInvalid, "unknown exec option %s", quoted(v).c_str());
     },
     .form = FlagForm::kList},
    {.name = "experimental",
     .key = "experimental",
     .argument = nullptr,
     .help = "Say so to clients; there is nothing else to turn on",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.experimental = TRY(parse_bool(v));
       return {};
     }},
    {.name = "init",
     .key = "init",
     .argument = nullptr,
     .help = "Run an init in containers that forwards signals and reaps processes",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.default_init = TRY(parse_bool(v));
       return {};
     }},
    {.name = "init-path",
     .key = "init-path",
     .argument = "FILE",
     .help = "That init (default: caisson-init beside this program)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       TRY(absolute_path(v, o.engine.init_path));
       if (!sys::path_exists(v)) return fail(ErrorKind::kNotFound, "'%s' does not exist", v.c_str());
       return {};
     }},
    {.name = "live-restore",
     .key = "live-restore",
     .argument = nullptr,
     .help = "Containers always go on without the engine",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       if (!TRY(parse_bool(v))) o.notices.push_back("--live-restore=false is ignored: containers outlive the engine");
       return {};
     }},
    {.name = "no-new-privileges",
     .key = "no-new-privileges",
     .argument = nullptr,
     .help = "Containers' processes cannot gain privileges by setuid programs",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.no_new_privileges = TRY(parse_bool(v));
       return {};
     }},
    {.name = "seccomp-profile",
     .key = "seccomp-profile",
     .argument = "FILE",
     .help = "Default seccomp profile: a file, builtin or unconfined",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.engine.seccomp_profile.clear();
       o.engine.seccomp_unconfined = v == "unconfined";
       if (v.empty() || v == "builtin" || v == "unconfined") return {};
       o.engine.seccomp_profile = TRY(sys::read_file(v, 1 << 20));
       o.engine.seccomp_profile_path = v;
       return {};
     }},
    {.name = "shutdown-timeout",
     .key = "shutdown-timeout",
     .argument = "SECONDS",
     .help = "How long requests under way may take when the engine stops; containers go on",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       auto value = parse_uint(v);
       if (!value || *value > 86400)
         return fail(ErrorKind::kInvalid, "expected a number of seconds, got %s", quoted(v).c_str());
       o.request_timeout_s = static_cast<int>(*value);
       return {};
     },
     .reloadable = true},
};

}  // namespace

std::span<const Flag> default_flags() { return kFlags; }

}  // namespace caisson
