// SPDX-License-Identifier: Apache-2.0
// `run`: create and start in one.
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/rollback.h"
#include "sys/process.h"

#include "commands.h"
#include "setup.h"

namespace caisson::oci {

namespace {

using enum Flag::Kind;

constexpr Flag kFlags[] = {
    {"bundle", 'b', kValue, "path to the bundle directory, defaults to the current directory"},
    {"console-socket", 0, kValue,
     "path to an AF_UNIX socket which receives the master end of the console's pseudoterminal"},
    {"detach", 'd', kSwitch, "do not wait for the container's end"},
    {"keep", 0, kSwitch, "do not delete the container after it exits"},
    {"pid-file", 0, kValue, "file to write the process id to"},
    {"no-subreaper", 0, kSwitch, "do not collect processes of the container whose parent ended"},
    {"no-pivot", 0, kSwitch, "do not use pivot_root: for a root file system on top of a ramdisk"},
    {"no-new-keyring", 0, kSwitch, "do not create a new session keyring, the container keeps the caller's"},
    {"preserve-fds", 0, kValue,
     "pass N additional file descriptors to the container (stdio + $LISTEN_FDS + N in total)"},
};
constexpr Usage kUsage{
    "run",
    "<container-id>",
    "create and run a container",
    "Makes the container of a bundle (a directory with config.json and a root file system) and runs the\n"
    "program of process.args in it. The exit status is the program's.",
    kFlags,
    1,
    1};

Result<int> run(const Options& options, const Parsed& flags) {
  const std::string& id = flags.arguments[0];
  TRY(check_id(id));
  auto inherited = TRY(inherited_fds(flags, true));
  auto [plan, record] = TRY(read_bundle(options, flags, id));
  bool detached = flags.on("detach"), keep = flags.on("keep");
  std::string console_socket = flags.value("console-socket");
  TRY(check_terminal(plan.process.terminal, detached, console_socket));
  auto console = TRY(connect_console(console_socket));
  pass_fds(inherited, plan.process);
  bool subreaper = !detached && !flags.on("no-subreaper");
  if (subreaper) prctl(PR_SET_CHILD_SUBREAPER, 1);

  auto directory = TRY(Directory::create(options.root, id));
  Rollback rollback;
  rollback.add([&] {
    if (!directory.gone()) destroy(options, record, directory);
  });
  TRY(directory.save_first(record));
  if (record.has_filter) TRY(directory.save_filter(plan.process.seccomp_bpf));
  runtime::StartFds fds;
  fds.stdio = {0, 1, 2};
  fds.cloned = [&record = record, &directory](pid_t pid, const sys::CgroupPaths& cgroup) -> Result<> {
    record.pid = pid;
    record.cgroup = cgroup;
    record.start_time = TRY(sys::process_start_time(pid));
    return directory.save(record);
  };
  if (!detached) hold_signals();
  auto started = TRY(runtime::run(plan, fds));
  rollback.add([&] {
    if (started.pidfd) (void)sys::signal_pidfd(started.pidfd.get(), SIGKILL);
  });
  TRY(write_pid_file(flags, started.pid));
  TRY(send_console(console.get(), started.console_master));
  TRY(run_record_hooks(record, record.poststart, "poststart", "running"));
  TRY(directory.unlock());
  if (detached) {
    rollback.commit();
    return 0;
  }
  int status = TRY(stay_in_foreground(started, subreaper));
  if (keep)
    rollback.commit();
  else
    TRY(directory.lock());
  return status;
}

}  // namespace

constinit const Command kRunCommand{&kUsage, run};

}  // namespace caisson::oci
