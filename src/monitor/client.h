// SPDX-License-Identifier: Apache-2.0
// The engine's side of the monitor: starting one, finding it again after an engine restart, and asking
// it to do things. The functions block for a bounded time; each opens its own connection, so they may
// be called from any thread and a dead engine leaves nothing half-said.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "logs/container_log.h"
#include "monitor/restart_policy.h"
#include "runtime/plan.h"

namespace caisson::monitor {

struct AttachOptions {
  bool want_stdin = false;
  bool want_stdout = false;
  bool want_stderr = false;
  std::string detach_keys;                   // bytes of the sequence, e.g. "\x10\x11"; empty: no detaching
  std::optional<logs::LogCursor> log_after;  // what the log has behind this comes first, without a gap
};

// A client socket handed over for good: the monitor writes Docker's 8-byte frames (raw bytes with a
// tty) to it, reads stdin from it, honours half-close, and closes it at the end of the container or
// after the detach keys. A slow client holds up nobody else longer than its bounded buffer.
struct Attachment {
  UniqueFd socket;
  std::string leftover;  // stdin bytes that were read behind the request head
  AttachOptions options;
};

struct LaunchRequest {
  std::string monitor_program;
  std::string container_id;
  std::string state_dir;   // existing directory (0700): monitor.sock, monitor.pid
  std::string record_dir;  // existing directory: exit record `exit.json`
  runtime::Plan plan;
  UniqueFd rootfs;  // detached mount
  UniqueFd netns;   // empty: the plan says host or a path
  bool open_stdin = false;
  bool stdin_once = false;  // close stdin when the first attached client closes its own
  bool tty = false;
  uint16_t rows = 0, columns = 0;  // first window size; 0: unset
  logs::LogConfig log;
  bool oom_group = false;               // when one process had to be killed, all are
  RestartPolicy restart;                // carried out by the monitor, whether the engine lives or not
  std::vector<Attachment> attachments;  // present before the first byte is written
};

struct ExitRecord {
  int exit_code = 0;  // 128 + signal when killed
  bool oom_killed = false;
  int64_t started_ns = 0;
  int64_t finished_ns = 0;
  int64_t restart_count = 0;
  std::string error;  // why a further start failed; empty for an end of the program's own
};

struct Running {
  pid_t monitor_pid = 0;
  pid_t pid = 0;                // the container's first process, in the host's pid namespace
  uint64_t pid_start_time = 0;  // see sys::process_start_time
  int64_t started_ns = 0;
  int64_t restart_count = 0;  // by the policy
  // The first process has ended and the next one is not started yet: pid is 0, `last_exit` tells.
  bool restarting = false;
  bool oom_killed = false;  // some process of the present run
  ExitRecord last_exit;     // of the run before; finished_ns is 0 when there was none
};

// Spawns the monitor and returns once the container's program has been exec'ed. A failure (kind
// kNotFound: program not found, kDenied: not executable, others: set-up) leaves no process behind;
// attachments are closed.
Result<Running> launch(LaunchRequest&& request);

// What the monitor left durably in record_dir; kNotFound while the container runs or never ran.
Result<ExitRecord> read_exit_record(const std::string& record_dir);
Result<> remove_exit_record(const std::string& record_dir);

Result<> attach(const std::string& state_dir, Attachment&& attachment);
Result<> resize(const std::string& state_dir, uint16_t rows, uint16_t columns);
// `last`: whatever the policy says, the container is not started again. One that waits for its next start
// ends at once then; without `last` that is kConflict.
Result<> signal(const std::string& state_dir, int signal, bool last = false);
Result<> set_restart_policy(const std::string& state_dir, RestartPolicy policy);

struct ExecRequest {
  std::string exec_id;
  runtime::ProcessPlan process;
  bool tty = false;
  uint16_t rows = 0, columns = 0;
  bool want_stdin = false, want_stdout = false, want_stderr = false;
  bool kill_with_client = false;         // when its client goes, whatever the reason
  std::optional<Attachment> attachment;  // none: detached, stdio is /dev/null
};
struct ExecStarted {
  pid_t pid = 0;
};
Result<ExecStarted> exec(const std::string& state_dir, ExecRequest&& request);
Result<> resize_exec(const std::string& state_dir, const std::string& exec_id, uint16_t rows, uint16_t columns);

// The engine's standing connection. kNotFound/kUnavailable when no monitor lives there (any more).
Result<UniqueFd> subscribe(const std::string& state_dir);
// What is known of a process that the kernel killed for want of memory.
struct OomDetails {
  pid_t pid = 0;  // in the host's pid namespace; 0: not known
  std::string name;
  uint64_t memory_limit = UINT64_MAX, memory_max_usage = 0;
};
struct Event {
  enum class Kind : unsigned char { kState, kExit, kRestarting, kExecExit, kDetached, kOom, kGone } kind = Kind::kGone;
  Running running;      // kState: sent first after subscribe, and at each start by the policy
  ExitRecord exit;      // kExit: the exit record has been written before this is sent, kRestarting
  std::string exec_id;  // kExecExit; kDetached: empty for a client of the container itself
  int exec_exit_code = 0;
  OomDetails oom;  // kOom: a process was killed; the first one may live on
};
// True once the monitor that launch() of this process started has ended, or is not our child; it stays a
// zombie until then. Does not block: to be called when a pidfd of it becomes readable. The next launch()
// does it for those that were forgotten.
bool reap(pid_t monitor_pid);
// One event from a readable subscription; kGone when the monitor has closed. For an event loop.
Result<Event> read_event(int subscription);

}  // namespace caisson::monitor
