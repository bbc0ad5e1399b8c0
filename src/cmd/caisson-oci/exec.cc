// SPDX-License-Identifier: Apache-2.0
// `exec`: a further process in a running container. Everything it needs is in the container's record.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "runtime/default_spec.h"
#include "runtime/process_builder.h"
#include "sys/cgroup.h"
#include "sys/files.h"
#include "sys/process.h"
#include "sys/systemd_cgroup.h"

#include "commands.h"
#include "exec_flags.h"
#include "setup.h"

namespace caisson::oci {

namespace {

using enum Flag::Kind;

constexpr Flag kFlags[] = {
    {"console-socket", 0, kValue,
     "path to an AF_UNIX socket which receives the master end of the console's pseudoterminal"},
    {"cwd", 0, kValue, "current working directory in the container"},
    {"env", 'e', kList, "set environment variables"},
    {"tty", 't', kSwitch, "allocate a pseudo-TTY"},
    {"user", 'u', kValue, "UID (format: <uid>[:<gid>])"},
    {"additional-gids", 'g', kList, "additional gids"},
    {"process", 'p', kValue, "path to the process.json, '-' for the standard input"},
    {"detach", 'd', kSwitch, "do not wait for the process's end"},
    {"pid-file", 0, kValue, "file to write the process id to"},
    {"process-label", 0, kValue, "SELinux label of the process"},
    {"apparmor", 0, kValue, "AppArmor profile of the process"},
    {"no-new-privs", 0, kSwitch, "the process gains no privileges by exec"},
    {"cap", 'c', kList, "add a capability to the process"},
    {"preserve-fds", 0, kValue, "pass N additional file descriptors to the process (stdio + N in total)"},
    {"cgroup", 0, kList, "run the process in an existing sub-cgroup: [<controller>:]<cgroup>"},
    {"ignore-paused", 0, kSwitch, "allow exec in a paused container"},
    {"no-subreaper", 0, kSwitch, "do not collect processes whose parent ended"},
};
constexpr Usage kUsage{
    "exec",
    "<container-id> <command> [args...]  || -p process.json <container-id>",
    "execute a new process inside the container",
    "What no option says is as in the container's process section. The exit status is the program's,\n"
    "255 when it could not be started.",
    kFlags,
    1,
    SIZE_MAX,
    true};

Result<spec::OciProcess> process_of(Record& record, const Parsed& flags) {
  if (const std::string* file = flags.find("process")) {
    auto text = *file == "-" ? sys::read_fd(0) : sys::read_file(*file);
    return spec::parse_oci_process(TRY(std::move(text)));
  }
  spec::OciProcess process = std::move(record.process);
  TRY(apply_exec_flags(flags, process));
  return process;
}

// The sub-cgroups must be there: they are the container's own.
Result<sys::CgroupPaths> cgroup_for(const Record& record, const Parsed& flags) {
  auto out = TRY(sub_cgroups(record.cgroup, flags.list("cgroup")));
  if (flags.has("cgroup"))
    for (const auto& dir : out.dirs)
      if (struct stat st; stat(dir.c_str(), &st) < 0) return fail_errno("cgroup '%s'", dir.c_str());
  return out;
}

// What linux of the config says of every process of the container.
Result<> take_after_container(const Record& record, runtime::ProcessPlan& process) {
  spec::OciLinux part;
  part.memory_policy = record.memory_policy;
  part.personality = record.personality;
  runtime::Plan plan;
  TRY(runtime::add_linux_process(part, plan));
  process.memory_policy = plan.process.memory_policy;
  process.personality = plan.process.personality;
  process.session_keyring = runtime::session_keyring_of(record.id);
  return {};
}

Result<int> exec(const Options& options, const Parsed& flags) {
  const std::string& id = flags.arguments[0];
  auto inherited = TRY(inherited_fds(flags, false));
  auto directory = TRY(Directory::open(options.root, id));
  auto record = TRY(directory.load());
  auto container = open_process(record);
  if (!container) return fail(ErrorKind::kConflict, "cannot exec in a stopped container");
  if (!flags.on("ignore-paused") && !record.cgroup.empty()) {
    auto frozen = sys::cgroup_frozen(record.cgroup);
    if (frozen && *frozen)
      return fail(ErrorKind::kConflict, "cannot exec in a paused container (use --ignore-paused to override)");
  }
  auto spec = TRY(process_of(record, flags));
  bool detached = flags.on("detach");
  std::string console_socket = flags.value("console-socket");
  TRY(check_terminal(spec.terminal, detached, console_socket));
  auto console = TRY(connect_console(console_socket));
  auto process = TRY(runtime::build_process(spec));
  pass_fds(inherited, process);
  auto cgroup = TRY(cgroup_for(record, flags));
  // The filter of the container holds for what joins it, too.
  if (record.has_filter) {
    process.seccomp_bpf = TRY(directory.load_filter());
    process.seccomp_flags = record.seccomp_flags;
    process.seccomp_listener_path = record.listener_path;
    process.seccomp_listener_metadata = record.listener_metadata;
  }
  TRY(take_after_container(record, process));
  bool subreaper = !detached && !flags.on("no-subreaper");
  if (subreaper) prctl(PR_SET_CHILD_SUBREAPER, 1);
  auto state = hook_state(record);
  auto move_in = [&](pid_t pid) -> Result<> {
    // Of a group that is neither ours nor systemd's the user's processes stay out.
    if (record.systemd_unit.empty()) return {};
    return sys::attach_to_systemd_unit({systemd_program(), record.rootless}, record.systemd_unit, pid);
  };
  std::function<Result<>(pid_t)> mover;
  if (record.rootless) mover = move_in;
  if (!detached) hold_signals();
  auto started = TRY(runtime::exec_process(container->get(), process, cgroup, {0, 1, 2}, &state, mover));
  auto handed_over = write_pid_file(flags, started.pid);
  if (handed_over) handed_over = send_console(console.get(), started.console_master);
  if (!handed_over) {
    (void)sys::signal_pidfd(started.pidfd.get(), SIGKILL);
    return std::unexpected(std::move(handed_over).error());
  }
  return detached ? 0 : stay_in_foreground(started, subreaper);
}

}  // namespace

constinit const Command kExecCommand{&kUsage, exec, 255};

}  // namespace caisson::oci
