// SPDX-License-Identifier: Apache-2.0
// `delete`: takes down what is left of a container, however its creation or its life ended.
#include <signal.h>

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "sys/cgroup.h"
#include "sys/files.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

#include "commands.h"
#include "setup.h"

namespace caisson::oci {

namespace {

using enum Flag::Kind;

constexpr int64_t kKillWaitNs = 10000000000;

constexpr Flag kFlags[] = {{"force", 'f', kSwitch, "delete the container even if it is still running (uses SIGKILL)"}};
constexpr Usage kUsage{"delete", "<container-id>", "delete any resources held by the container", "", kFlags, 1, 1};

// Processes in the cgroup of a container whose creation was cut off are its own only if no other record
// names that cgroup: the other may have been the reason why this one came to nothing.
bool shares_cgroup(const Options& options, const Record& record) {
  auto names = sys::list_dir(options.root);
  if (!names) return true;
  for (const auto& name : *names) {
    if (name == record.id || name.starts_with(".")) continue;
    auto other = load_record(options.root, name);
    if (other && other->cgroup_path == record.cgroup_path && is_alive(*other)) return true;
  }
  return false;
}

Result<> remove_abandoned(const Options& options, const Record& record, Directory& directory) {
  if (!shares_cgroup(options, record)) TRY(remove_cgroups(record));
  return directory.remove();
}

Result<> kill_and_wait(const Record& record) {
  auto process = open_process(record);
  if (!process) return {};
  // All of them, so that a process outside the pid namespace does not live on.
  if (!record.cgroup.empty())
    if (auto killed = sys::kill_cgroup(record.cgroup); !killed)
      log_debug("%s, ignoring", killed.error().message.c_str());
  if (auto sent = sys::signal_pidfd(process->get(), SIGKILL); !sent && sent.error().err != ESRCH) return sent;
  // Not until the process is gone for good: it may have to wait for processes whose parents are elsewhere.
  int64_t deadline = monotonic_ns() + kKillWaitNs;
  for (int wait_ms = 1; is_alive(record); wait_ms = std::min(wait_ms * 2, 100)) {
    if (monotonic_ns() > deadline) return fail(ErrorKind::kTimeout, "container init still running");
    if (sys::wait_readable(process->get(), wait_ms)) break;
  }
  return {};
}

Result<int> remove(const Options& options, const Parsed& flags) {
  const std::string& id = flags.arguments[0];
  bool force = flags.on("force");
  auto directory = Directory::open(options.root, id);
  if (!directory) {
    if (force && directory.error().kind == ErrorKind::kNotFound) return 0;
    return std::unexpected(std::move(directory).error());
  }
  TRY(directory->lock());
  if (directory->gone()) {
    if (force) return 0;
    return fail(ErrorKind::kNotFound, "container does not exist: %s", quoted(id).c_str());
  }
  auto record = directory->load();
  if (!record) {
    // Cut off before the record was complete: nothing else has been made by then.
    if (!force) return std::unexpected(std::move(record).error());
    TRY(directory->remove());
    return 0;
  }
  if (record->pid == 0) {
    TRY(remove_abandoned(options, *record, *directory));
    return 0;
  }
  auto status = TRY(status_of(directory->path(), *record));
  if (status != Status::kStopped) {
    if (!force && status != Status::kCreated)
      return fail(ErrorKind::kConflict, "cannot delete container %s that is not stopped: %s", id.c_str(),
                  status_name(status));
    TRY(kill_and_wait(*record));
  }
  TRY(take_down(options, *record, *directory));
  return 0;
}

}  // namespace

constinit const Command kDeleteCommand{&kUsage, remove};

}  // namespace caisson::oci
