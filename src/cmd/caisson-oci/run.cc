// SPDX-License-Identifier: Apache-2.0
// `run` and `exec`.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "commands.h"
#include "runtime/plan_builder.h"
#include "runtime/seccomp_profile.h"
#include "sys/cgroup.h"
#include "sys/files.h"
#include "sys/process.h"

namespace caisson::oci {

namespace {

Result<std::string> absolute(const std::string& path) {
  char* real = realpath(path.c_str(), nullptr);
  if (!real) return fail_errno("bundle '%s'", path.c_str());
  std::string out = real;
  free(real);
  return out;
}

Result<> add_filter(const spec::RuntimeSpec& spec, std::string& bpf, uint32_t& flags) {
  if (!spec.linux_part || !spec.linux_part->seccomp) return {};
  bpf = TRY(runtime::compile_seccomp(*spec.linux_part->seccomp));
  flags = TRY(runtime::seccomp_flags(*spec.linux_part->seccomp));
  return {};
}

bool has_hooks(const spec::RuntimeSpec& spec) {
  if (!spec.hooks) return false;
  const auto& h = *spec.hooks;
  return !(h.prestart.empty() && h.create_runtime.empty() && h.create_container.empty() && h.start_container.empty() &&
           h.poststart.empty() && h.poststop.empty());
}

Result<runtime::Plan> read_plan(const std::string& bundle, const std::string& id, const sys::CgroupSystem& cgroups) {
  auto spec = TRY(spec::parse_runtime_spec(TRY(sys::read_file(bundle + "/config.json"))));
  // Leaving them out silently would start a container without its network, say.
  if (has_hooks(spec)) return fail(ErrorKind::kUnsupported, "hooks are not supported yet");
  runtime::BuildOptions options;
  options.id = id;
  options.bundle = bundle;
  options.cgroups = cgroups;
  TRY(add_filter(spec, options.seccomp_bpf, options.seccomp_flags));
  return runtime::build_plan(spec, options);
}

Result<spec::OciProcess> exec_process_spec(const Record& record, const std::string& process_file) {
  if (!process_file.empty()) return spec::parse_oci_process(TRY(sys::read_file(process_file)));
  auto spec = TRY(spec::parse_runtime_spec(TRY(sys::read_file(record.bundle + "/config.json"))));
  if (!spec.process) return fail(ErrorKind::kInvalid, "config.json has no process");
  spec.process->terminal = false;
  return std::move(*spec.process);
}

Result<> set_user(const std::string& text, spec::OciProcess& process) {
  auto pair = split_once(text, ':');
  auto uid = parse_uint(pair ? pair->first : text);
  auto gid = pair ? parse_uint(pair->second) : std::optional<uint64_t>(process.user.gid);
  if (!uid || !gid || *uid > UINT32_MAX - 1 || *gid > UINT32_MAX - 1)
    return fail(ErrorKind::kInvalid, "user %s is not UID[:GID]", quoted(text).c_str());
  process.user.uid = static_cast<uint32_t>(*uid);
  process.user.gid = static_cast<uint32_t>(*gid);
  return {};
}

}  // namespace

Result<int> run_command(const Options& options, const std::vector<std::string>& args) {
  std::string bundle = ".", pid_file;
  size_t at = 0;
  while (at < args.size() && args[at].starts_with("-")) {
    if (auto value = take_option(args, at, "--bundle", "-b")) bundle = *value;
    else if (auto file = take_option(args, at, "--pid-file", nullptr)) pid_file = *file;
    else return fail(ErrorKind::kInvalid, "unknown option %s", quoted(args[at]).c_str());
  }
  if (at + 1 != args.size()) return fail(ErrorKind::kInvalid, "run needs one container ID");
  std::string id = args[at];
  TRY(check_id(id));
  bundle = TRY(absolute(bundle));
  auto cgroups = TRY(sys::detect_cgroups());
  auto plan = TRY(read_plan(bundle, id, cgroups));
  TRY(reserve(options, id));
  Rollback rollback;
  rollback.add([&] {
    if (auto done = forget(options, id); !done) log_warn("%s", done.error().message.c_str());
  });
  runtime::StartFds fds;
  fds.stdio = {0, 1, 2};
  auto created = TRY(runtime::create(plan, fds));
  Record record{id, bundle, plan.cgroup.path, created.pid(), TRY(sys::process_start_time(created.pid()))};
  TRY(save(options, record));
  if (!pid_file.empty()) TRY(sys::replace_file(pid_file, std::to_string(created.pid()), 0644));
  auto started = TRY(created.start());
  rollback.add([cgroup = started.cgroup] {
    // Processes outside the container's pid namespace do not die with its first one.
    (void)sys::kill_cgroup(cgroup);
    if (auto done = sys::remove_cgroup(cgroup); !done) log_warn("%s", done.error().message.c_str());
  });
  return stay_in_foreground(started);
}

Result<int> exec_command(const Options& options, const std::vector<std::string>& args) {
  std::string process_file, cwd, user;
  std::vector<std::string> env;
  bool terminal = false;
  size_t at = 0;
  while (at < args.size() && args[at].starts_with("-")) {
    if (auto value = take_option(args, at, "--process", "-p")) process_file = *value;
    else if (auto dir = take_option(args, at, "--cwd", nullptr)) cwd = *dir;
    else if (auto entry = take_option(args, at, "--env", "-e")) env.push_back(*entry);
    else if (auto name = take_option(args, at, "--user", "-u")) user = *name;
    else if (args[at] == "-t" || args[at] == "--tty") terminal = true, ++at;
    else return fail(ErrorKind::kInvalid, "unknown option %s", quoted(args[at]).c_str());
  }
  if (at >= args.size()) return fail(ErrorKind::kInvalid, "exec needs a container ID");
  auto record = TRY(load(options, args[at++]));
  auto container = open_process(record);
  if (!container) return fail(ErrorKind::kConflict, "cannot exec in a stopped container");
  auto spec = TRY(exec_process_spec(record, process_file));
  if (at < args.size()) spec.args.assign(args.begin() + static_cast<std::ptrdiff_t>(at), args.end());
  else if (process_file.empty()) return fail(ErrorKind::kInvalid, "exec needs a command");
  if (!cwd.empty()) spec.cwd = cwd;
  if (!user.empty()) TRY(set_user(user, spec));
  spec.env.insert(spec.env.end(), env.begin(), env.end());
  spec.terminal |= terminal;
  auto process = TRY(runtime::build_process(spec));
  // The filter of the container holds for what joins it too.
  auto config = TRY(spec::parse_runtime_spec(TRY(sys::read_file(record.bundle + "/config.json"))));
  TRY(add_filter(config, process.seccomp_bpf, process.seccomp_flags));
  auto cgroups = TRY(sys::detect_cgroups());
  auto started = TRY(runtime::exec_process(container->get(), process, sys::cgroup_paths(cgroups, record.cgroup_path), {0, 1, 2}));
  return stay_in_foreground(started);
}

}  // namespace caisson::oci
