// SPDX-License-Identifier: Apache-2.0
// `kill`, `pause`, `resume`: what is done to processes that run.
#include <signal.h>

#include "base/log.h"
#include "base/text.h"
#include "sys/cgroup.h"
#include "sys/process.h"

#include "commands.h"
#include "record.h"
#include "signals.h"

namespace caisson::oci {

namespace {

using enum Flag::Kind;

constexpr Flag kKillFlags[] = {{"all", 'a', kSwitch, "send the signal to all processes inside the container"}};
constexpr Usage kKillUsage{"kill",
                           "<container-id> [signal]",
                           "send a signal (default: SIGTERM) to the container's init process",
                           "The signal is a name, with or without SIG, or a number.",
                           kKillFlags,
                           1,
                           2};
constexpr Usage kPauseUsage{"pause", "<container-id>", "suspend all processes inside the container", "", {}, 1, 1};
constexpr Usage kResumeUsage{"resume", "<container-id>", "resume all processes that have been paused", "", {}, 1, 1};

// Frozen, so that nobody forks away from the list, and no pid on it comes to name another process.
Result<> signal_all(const Record& record, int signal) {
  if (record.cgroup.empty())
    return fail(ErrorKind::kUnsupported, "a container without a cgroup cannot be signalled as a whole");
  if (signal == SIGKILL) return sys::kill_cgroup(record.cgroup);
  bool was_frozen = TRY(sys::cgroup_frozen(record.cgroup));
  if (!was_frozen) TRY(sys::freeze_cgroup(record.cgroup, true));
  Result<> outcome;
  if (auto pids = sys::cgroup_pids(record.cgroup)) {
    for (pid_t pid : *pids)
      if (::kill(pid, signal) < 0 && errno != ESRCH && outcome) outcome = fail_errno("kill %d", pid);
  } else {
    outcome = std::unexpected(std::move(pids).error());
  }
  if (!was_frozen) TRY(sys::freeze_cgroup(record.cgroup, false));
  return outcome;
}

Result<int> kill(const Options& options, const Parsed& flags) {
  auto record = TRY(load_record(options.root, flags.arguments[0]));
  int signal = SIGTERM;
  if (flags.arguments.size() > 1) signal = TRY(signal_number(flags.arguments[1]));
  auto process = open_process(record);
  if (flags.on("all")) {
    TRY(signal_all(record, signal));
    return 0;
  }
  if (!process) return fail(ErrorKind::kConflict, "container not running");
  TRY_CTX(sys::signal_pidfd(process->get(), signal), "unable to signal init");
  // On cgroup v1 what is frozen dies only when it thaws.
  if (signal == SIGKILL && !record.cgroup.empty())
    if (auto frozen = sys::cgroup_frozen(record.cgroup); frozen && *frozen)
      if (auto thawed = sys::freeze_cgroup(record.cgroup, false); !thawed)
        log_debug("thaw: %s, ignoring", thawed.error().message.c_str());
  return 0;
}

Result<int> set_frozen(const Options& options, const std::string& id, bool frozen) {
  auto directory = TRY(Directory::open(options.root, id));
  TRY(directory.lock());
  auto record = TRY(directory.load());
  auto status = TRY(status_of(directory.path(), record));
  if (frozen && status == Status::kPaused) return fail(ErrorKind::kConflict, "container not running: it is paused");
  if (frozen && status != Status::kRunning && status != Status::kCreated)
    return fail(ErrorKind::kConflict, "container not running");
  if (!frozen && status != Status::kPaused) return fail(ErrorKind::kConflict, "container not paused");
  if (record.cgroup.empty()) return fail(ErrorKind::kUnsupported, "a container without a cgroup cannot be paused");
  TRY(sys::freeze_cgroup(record.cgroup, frozen));
  return 0;
}

Result<int> pause(const Options& options, const Parsed& flags) { return set_frozen(options, flags.arguments[0], true); }
Result<int> resume(const Options& options, const Parsed& flags) {
  return set_frozen(options, flags.arguments[0], false);
}

}  // namespace

constinit const Command kKillCommand{&kKillUsage, kill};
constinit const Command kPauseCommand{&kPauseUsage, pause};
constinit const Command kResumeCommand{&kResumeUsage, resume};

}  // namespace caisson::oci
