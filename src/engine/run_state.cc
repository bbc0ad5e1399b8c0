// SPDX-License-Identifier: Apache-2.0
#include "engine/run_state.h"

#include <utility>

namespace caisson::engine {

void note_restarting(ContainerRecord& record, const monitor::ExitRecord& exit) {
  record.set_status(Status::kRestarting);
  record.exit_code = exit.exit_code;
  record.oom_killed = exit.oom_killed;
  record.finished_ns = exit.finished_ns;
  record.restart_count = exit.restart_count;
  record.pid = 0;
}

// False when the record says so already.
bool apply_state(ContainerRecord& record, const monitor::Running& running) {
  if (running.restarting) {
    if (record.status() == Status::kRestarting && record.restart_count == running.restart_count) return false;
    note_restarting(record, running.last_exit);
  } else {
    if (record.pid == running.pid && record.started_ns == running.started_ns)
      return running.oom_killed && !std::exchange(record.oom_killed, true);
    if (record.status() != Status::kPaused) record.set_status(Status::kRunning);
    record.pid = running.pid;
    record.pid_start_time = static_cast<int64_t>(running.pid_start_time);
    record.started_ns = running.started_ns;
    record.exit_code = 0;
    record.oom_killed = running.oom_killed;
  }
  record.restart_count = running.restart_count;
  return true;
}

}  // namespace caisson::engine
