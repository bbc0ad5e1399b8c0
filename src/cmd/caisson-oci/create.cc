// SPDX-License-Identifier: Apache-2.0
// `create` and `start`: a container that is made in one call and begins in another.
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/rollback.h"
#include "sys/files.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

#include "commands.h"
#include "setup.h"

namespace caisson::oci {

namespace {

using enum Flag::Kind;

constexpr Flag kCreateFlags[] = {
    {"bundle", 'b', kValue, "path to the bundle directory, defaults to the current directory"},
    {"console-socket", 0, kValue,
     "path to an AF_UNIX socket which receives the master end of the console's pseudoterminal"},
    {"pid-file", 0, kValue, "file to write the process id to"},
    {"no-pivot", 0, kSwitch, "do not use pivot_root: for a root file system on top of a ramdisk"},
    {"no-new-keyring", 0, kSwitch, "do not create a new session keyring, the container keeps the caller's"},
    {"preserve-fds", 0, kValue,
     "pass N additional file descriptors to the container (stdio + $LISTEN_FDS + N in total)"},
    {"no-subreaper", 0, kSwitch, "has no effect here"},
};
constexpr Usage kCreateUsage{
    "create",
    "<container-id>",
    "create a container",
    "Makes everything of the container in the bundle (a directory with config.json and a root file\n"
    "system) and stops right before the program of process.args: `start` runs it.",
    kCreateFlags,
    1,
    1};
constexpr Usage kStartUsage{
    "start", "<container-id>", "execute the user-defined process of a created container", "", {}, 1, 1};

Result<int> create(const Options& options, const Parsed& flags) {
  const std::string& id = flags.arguments[0];
  TRY(check_id(id));
  auto inherited = TRY(inherited_fds(flags, true));
  auto [plan, record] = TRY(read_bundle(options, flags, id));
  std::string console_socket = flags.value("console-socket");
  TRY(check_terminal(plan.process.terminal, true, console_socket));
  auto console = TRY(connect_console(console_socket));
  pass_fds(inherited, plan.process);

  auto directory = TRY(Directory::create(options.root, id));
  Rollback rollback;
  rollback.add([&] { destroy(options, record, directory); });
  TRY(directory.save_first(record));
  if (record.has_filter) TRY(directory.save_filter(plan.process.seccomp_bpf));
  auto gate = TRY(sys::listen_unix(directory.gate(), SOCK_SEQPACKET, 0600));
  runtime::StartFds fds;
  fds.stdio = {0, 1, 2};
  fds.start_gate = gate.get();
  fds.cloned = [&record = record, &directory](pid_t pid, const sys::CgroupPaths& cgroup) -> Result<> {
    record.pid = pid;
    record.cgroup = cgroup;
    record.start_time = TRY(sys::process_start_time(pid));
    return directory.save(record);
  };
  auto created = TRY(runtime::create(plan, fds));
  TRY(write_pid_file(flags, created.pid()));
  auto waiting = created.detach();
  if (auto sent = send_console(console.get(), waiting.console_master); !sent) {
    (void)sys::signal_pidfd(waiting.pidfd.get(), SIGKILL);
    return std::unexpected(std::move(sent).error());
  }
  rollback.commit();
  TRY(directory.unlock());
  return 0;
}

Result<int> start(const Options& options, const Parsed& flags) {
  auto directory = TRY(Directory::open(options.root, flags.arguments[0]));
  TRY(directory.lock());
  auto record = TRY(directory.load());
  switch (TRY(status_of(directory.path(), record))) {
    case Status::kCreated: break;
    case Status::kStopped: return fail(ErrorKind::kConflict, "cannot start a container that has stopped");
    case Status::kRunning: return fail(ErrorKind::kConflict, "cannot start an already running container");
    case Status::kPaused: return fail(ErrorKind::kConflict, "cannot start a container in the paused state");
    case Status::kCreating: return fail(ErrorKind::kConflict, "cannot start a container that is being created");
  }
  runtime::ProcessPlan listener;
  listener.seccomp_listener_path = record.listener_path;
  listener.seccomp_listener_metadata = record.listener_metadata;
  auto pid = static_cast<pid_t>(record.pid);
  TRY(runtime::start_created(directory.gate(), record.listener_path.empty() ? nullptr : &listener, hook_state(record),
                             pid));
  TRY(sys::remove_file(directory.gate()));
  if (auto hooks = run_record_hooks(record, record.poststart, "poststart", "running"); !hooks) {
    // The specification wants the container stopped then.
    if (auto process = open_process(record)) (void)sys::signal_pidfd(process->get(), SIGKILL);
    return std::unexpected(std::move(hooks).error());
  }
  return 0;
}

}  // namespace

constinit const Command kCreateCommand{&kCreateUsage, create};
constinit const Command kStartCommand{&kStartUsage, start};

}  // namespace caisson::oci
