// SPDX-License-Identifier: Apache-2.0
#include "monitor/monitor.h"

#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/text.h"
#include "monitor/monitor_state.h"
#include "monitor/release_memory.h"
#include "runtime/container.h"
#include "sys/files.h"
#include "sys/mount.h"
#include "sys/unix_socket.h"

namespace caisson::monitor {

namespace {

constexpr int64_t kMillisecond = 1'000'000;
// Data of a process that has ended is in its pipe already; this is for others who share the pipe.
constexpr int64_t kDrainNs = 100 * kMillisecond;
constexpr int64_t kIdleNs = 1000 * kMillisecond;
constexpr size_t kMaxExecs = 1024;
constexpr size_t kKeptExits = 64;

char io_buffer[kIoBuffer];  // one for all hubs; touched pages only count

bool peer_closed(int socket) {
  char byte;
  return recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

// The engine's end, a terminal's hang-up or a closed pipe must not end us. Blocked, not ignored: what is
// ignored stays so over clone and exec, what is blocked is unblocked by the runtime for the container.
void block_signals() {
  sigset_t all;
  sigfillset(&all);
  for (int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS}) sigdelset(&all, fault);
  sigprocmask(SIG_SETMASK, &all, nullptr);
}

}  // namespace

Result<StdioPipes> make_pipes(bool in, bool out, bool err) {
  StdioPipes pipes;
  auto make = [](UniqueFd& read_end, UniqueFd& write_end, UniqueFd& ours) -> Result<> {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) return fail_errno("pipe2");
    read_end.reset(fds[0]);
    write_end.reset(fds[1]);
    return sys::set_nonblocking(ours.get(), true);
  };
  if (in) TRY(make(pipes.in, pipes.ours.in, pipes.ours.in));
  if (out) TRY(make(pipes.ours.out, pipes.out, pipes.ours.out));
  if (err) TRY(make(pipes.ours.err, pipes.err, pipes.ours.err));
  return pipes;
}

Monitor::Monitor() = default;

Result<> Monitor::start(UniqueFd& launcher) {
  request_ = TRY(decode_launch(TRY(receive_packet(launcher.get()))));
  state_dir_ = request_.state_dir;
  record_dir_ = request_.record_dir;
  oom_group_ = request_.oom_group;
  own_pids_ = (request_.plan.create_namespaces & CLONE_NEWPID) != 0;
  decision_ = RestartDecision(request_.restart);
  auto log = logs::LogWriter::open(request_.log);
  if (!log) {
    // Of the kinds that speak of the container's program it must not be.
    log.error().kind = ErrorKind::kInternal;
    return with_context(std::move(log).error(), "failed to initialize logging driver");
  }
  log_ = std::move(*log);
  TRY(poller_.init());
  if (log_->poll_fd() >= 0) TRY(poller_.add(log_peer_, log_->poll_fd(), EPOLLIN));
  listener_.fd = TRY(sys::listen_unix(state_dir_ + "/monitor.sock", SOCK_SEQPACKET, 0600));
  running_.monitor_pid = getpid();
  auto start_time = TRY(sys::process_start_time(running_.monitor_pid));
  TRY(sys::write_file(state_dir_ + "/monitor.pid",
                      format("%d %llu\n", running_.monitor_pid, static_cast<unsigned long long>(start_time)), 0600));
  if (peer_closed(launcher.get())) return fail(ErrorKind::kCancelled, "the launcher is gone");
  if (request_.restart.kind != RestartPolicy::Kind::kNo && request_.rootfs)
    TRY(sys::make_mount_cloneable(request_.rootfs.get(), state_dir_));
  if (const runtime::Plan& plan = request_.plan; !plan.hooks.empty()) {
    hook_state_ = {plan.oci_version, plan.id, plan.bundle, plan.annotations};
    poststop_ = plan.hooks.poststop;
  }
  TRY(start_process(std::move(request_.attachments)));
  // What is never used again is given back: the plan has the filter and every path of the container.
  if (request_.restart.kind == RestartPolicy::Kind::kNo) request_ = {};
  TRY(poller_.add(listener_, listener_.fd.get(), EPOLLIN));
  return {};
}

Result<> Monitor::start_process(std::vector<Attachment> attachments) {
  StdioPipes pipes;
  if (!request_.tty) pipes = TRY(make_pipes(request_.open_stdin, true, true));
  runtime::StartFds fds;
  fds.rootfs = request_.rootfs ? request_.rootfs.get() : -1;
  fds.keep_rootfs = request_.restart.kind != RestartPolicy::Kind::kNo;
  fds.netns = request_.netns ? request_.netns.get() : -1;
  fds.stdio = {pipes.in ? pipes.in.get() : -1, pipes.out ? pipes.out.get() : -1, pipes.err ? pipes.err.get() : -1};
  auto started = TRY(runtime::run(request_.plan, fds));
  running_.started_ns = now_ns();
  running_.pid = started.pid;
  running_.pid_start_time = sys::process_start_time(started.pid).value_or(0);
  running_.restarting = false;
  running_.oom_killed = false;
  running_.restart_count = decision_.restarts();
  child_.watched = {started.pid, std::move(started.pidfd)};
  cgroup_ = std::move(started.cgroup);
  watch_for_oom();
  if (started.console_master) {
    pipes.ours = {};
    TRY(sys::set_nonblocking(started.console_master.get(), true));
    pipes.ours.terminal = std::move(started.console_master);
  }
  mount_namespace_.reset();
  // Holding the mount namespace keeps the unmounting off the way from the exit to the user.
  if (request_.plan.create_namespaces & CLONE_NEWNS)
    if (auto held = sys::open_file(format("/proc/%d/ns/mnt", running_.pid), O_RDONLY))
      mount_namespace_ = std::move(*held);

  TRY(run_hooks(request_.plan.hooks.poststart, "poststart", "running"));
  hub_ = std::make_unique<StdioHub>(poller_, io_buffer,
                                    StdioHub::Options{.close_stdin = request_.stdin_once, .log = log_.get()});
  TRY(hub_->start(std::move(pipes.ours)));
  // One that cannot be served is closed; it is no reason to fail the container.
  for (auto& attachment : attachments) (void)hub_->add_client(std::move(attachment)).has_value();
  TRY(poller_.add(child_, child_.watched.pidfd.get(), EPOLLIN));
  phase_ = Phase::kRunning;
  return {};
}

// Blocks for as long as the hooks take; each has its time limit from the engine.
Result<> Monitor::run_hooks(const std::vector<runtime::Hook>& hooks, const char* kind, const char* status) {
  if (hooks.empty()) return {};
  std::string state = runtime::hook_state_json(hook_state_, status, child_.watched.pid);
  return runtime::run_hooks(hooks, kind, state, hook_state_.bundle);
}

[[gnu::hot]] int Monitor::run(UniqueFd launcher) {
  block_signals();
  auto started = start(launcher);
  if (started) started = send_packet(launcher.get(), MessageType::kRunning, encode_running(running_));
  if (!started) {
    // Nobody knows of the container yet, so none may stay.
    abandon();
    (void)send_packet(launcher.get(), MessageType::kError, encode_error(started.error())).has_value();
    return 1;
  }
  launcher.reset();
  idle_at_ = monotonic_ns() + kIdleNs;
  while (phase_ != Phase::kDone) {
    int64_t next = next_deadline(), wait_ms = -1;
    if (next != kNever)
      wait_ms = std::clamp<int64_t>((next - monotonic_ns() + kMillisecond - 1) / kMillisecond, 0, 60'000);
    poller_.step(static_cast<int>(wait_ms));
    tell_detached();
    end_left_execs();
    if (next != kNever || phase_ == Phase::kClosing) on_time(monotonic_ns());
    if (busy()) idle_at_ = monotonic_ns() + kIdleNs;
  }
  return 0;
}

// ---- clocks

[[gnu::hot]] bool Monitor::busy() {
  bool any = hub_->take_busy();
  for (auto& exec : execs_) any = exec->hub.take_busy() || any;
  return any;
}

[[gnu::hot]] int64_t Monitor::next_deadline() const {
  int64_t next =
      std::min({hub_->next_deadline(), drain_deadline_, idle_at_, start_at_, oom_look_at_, log_->next_deadline()});
  for (auto& hub : old_hubs_) next = std::min(next, hub->next_deadline());
  for (auto& exec : execs_) next = std::min({next, exec->hub.next_deadline(), exec->drain_deadline});
  return next;
}

// What the peer has taken may let the container's output flow again.
void Monitor::LogPeer::on_ready(uint32_t) {
  monitor.log_->on_ready();
  monitor.hub_->on_time(monotonic_ns());
}

[[gnu::hot]] void Monitor::on_time(int64_t now) {
  log_->on_time(now);
  if (oom_look_at_ <= now) look_for_oom_kill(now);
  if (hub_->next_deadline() <= now) hub_->on_time(now);
  for (auto& hub : old_hubs_)
    if (hub->next_deadline() <= now) hub->on_time(now);
  std::erase_if(old_hubs_, [](auto& hub) { return hub->clients_gone(); });
  for (auto& exec : execs_)
    if (exec->hub.next_deadline() <= now) exec->hub.on_time(now);
  if (idle_at_ <= now) {
    idle_at_ = kNever;
    log_->release_memory();
    release_memory(io_buffer, sizeof io_buffer);
  }
  settle_execs(now);
  if (phase_ == Phase::kDraining && (hub_->drained() || drain_deadline_ <= now)) after_end();
  if (phase_ == Phase::kWaiting && start_at_ <= now) stopped_by_hand_ ? finish() : start_again();
  if (phase_ == Phase::kClosing && hub_->clients_gone() && old_hubs_.empty() && execs_.empty() && !log_->lingering())
    phase_ = Phase::kDone;
}

// ---- end of the container

void Monitor::Child::on_ready(uint32_t) { monitor.on_exit(); }

void Monitor::on_exit() {
  poller_.remove(child_);
  auto code = sys::wait_child(child_.watched);
  child_.watched = {};
  exit_.exit_code = code.value_or(255);
  exit_.started_ns = running_.started_ns;
  exit_.finished_ns = now_ns();
  // With a pid namespace of its own everything inside is dead by now (pid_namespaces(7)).
  if (!own_pids_ && !cgroup_.empty()) (void)sys::kill_cgroup(cgroup_).has_value();
  phase_ = Phase::kDraining;
  hub_->drain();
  int64_t now = monotonic_ns();
  drain_deadline_ = now + kDrainNs;
  for (auto& exec : execs_) on_exec_ready(*exec, false);
  on_time(now);
}

void Monitor::after_end() {
  drain_deadline_ = kNever;
  (void)log_->finish().has_value();
  tell_oom_kill();
  stop_watching_oom();
  exit_.oom_killed = running_.oom_killed;
  // The container's own end is what counts; that a hook failed is told beside it.
  if (auto done = run_hooks(poststop_, "poststop", "stopped"); !done) exit_.error = done.error().message;
  // Without a root to start from it is the engine's business: a policy that was given later.
  std::optional<int64_t> delay;
  if (request_.rootfs)
    delay = decision_.after_exit(exit_.exit_code, exit_.finished_ns - exit_.started_ns, stopped_by_hand_);
  exit_.restart_count = decision_.restarts();
  if (delay)
    begin_waiting(*delay);
  else
    finish();
}

void Monitor::begin_waiting(int64_t delay_ns) {
  phase_ = Phase::kWaiting;
  start_at_ = monotonic_ns() + delay_ns;
  running_.restarting = true;
  running_.pid = 0;
  running_.pid_start_time = 0;
  running_.restart_count = decision_.restarts();
  running_.last_exit = exit_;
  broadcast(MessageType::kRestartingEvent, encode_exit(exit_));
  hub_->close_clients();
  end_execs();
  // The next run makes it anew, with counters at zero.
  if (!cgroup_.empty()) (void)sys::remove_cgroup(cgroup_).has_value();
  cgroup_ = {};
}

void Monitor::start_again() {
  start_at_ = kNever;
  old_hubs_.push_back(std::move(hub_));
  auto started = start_process({});
  if (started) {
    broadcast(MessageType::kStateEvent, encode_running(running_));
    return;
  }
  // A program that cannot be started now will not be by waiting: Docker gives up here, too.
  abandon_process();
  hub_ = std::move(old_hubs_.back());
  old_hubs_.pop_back();
  bool about_program = started.error().message.starts_with("exec");
  exit_.exit_code = !about_program ? 128 : started.error().kind == ErrorKind::kNotFound ? 127 : 126;
  exit_.error = started.error().message;
  exit_.finished_ns = now_ns();
  finish();
}

void Monitor::finish() {
  start_at_ = kNever;
  // An engine that listens keeps the result in its own database; waiting for the disk here would only
  // delay the user (3 ms, 60 ms on a busy disk).
  bool heard = std::any_of(connections_.begin(), connections_.end(), [](auto& c) { return c->subscriber; });
  (void)write_exit_record(record_dir_, exit_, !heard).has_value();
  // Before anybody hears of the end: who starts a successor early must not lose its socket to us.
  poller_.remove(listener_);
  (void)sys::remove_file(state_dir_ + "/monitor.sock").has_value();
  (void)sys::remove_file(state_dir_ + "/monitor.pid").has_value();
  listener_.fd.reset();
  broadcast(MessageType::kExitEvent, encode_exit(exit_));
  phase_ = Phase::kClosing;
  hub_->close_clients();
  take_down();
}

// Whoever sees our connections close may start a successor in the same cgroup: it goes before that. Slow
// clients are served on without a name.
void Monitor::take_down() {
  mount_namespace_.reset();
  request_ = {};
  if (!cgroup_.empty()) (void)sys::remove_cgroup(cgroup_).has_value();
  end_execs();
  for (auto& connection : connections_) poller_.remove(*connection);
  connections_.clear();
}

void Monitor::end_execs() {
  for (auto& exec : execs_) {
    if (exec->ended) continue;
    // Only possible without a pid namespace: in the way of a kill that has been sent.
    exec->ended = true;
    exec->exit_code = 128 + SIGKILL;
    exec->drain_deadline = 0;
    poller_.remove(*exec);
  }
  settle_execs(monotonic_ns());
}

// A process that was started, and what belongs to it, when the rest of its start has failed.
void Monitor::abandon_process() {
  if (!child_.watched.pidfd) return;
  (void)sys::signal_pidfd(child_.watched.pidfd.get(), SIGKILL).has_value();
  if (!own_pids_ && !cgroup_.empty()) (void)sys::kill_cgroup(cgroup_).has_value();
  (void)sys::wait_child(child_.watched).has_value();
  child_.watched = {};
  stop_watching_oom();
  mount_namespace_.reset();
  if (!cgroup_.empty()) (void)sys::remove_cgroup(cgroup_).has_value();
  cgroup_ = {};
}

void Monitor::abandon() {
  abandon_process();
  // Not ours before the listener was there: another monitor may live in this directory.
  if (!listener_.fd) return;
  (void)sys::remove_file(state_dir_ + "/monitor.sock").has_value();
  (void)sys::remove_file(state_dir_ + "/monitor.pid").has_value();
}

// ---- execs

Result<pid_t> Monitor::start_exec(ExecRequest&& request) {
  if (phase_ != Phase::kRunning) return fail(ErrorKind::kConflict, "the container is not running");
  if (execs_.size() >= kMaxExecs) return fail(ErrorKind::kExhausted, "more than %zu execs at once", kMaxExecs);
  for (auto& other : execs_)
    if (other->id == request.exec_id) return fail(ErrorKind::kExists, "exec '%s' is running", request.exec_id.c_str());
  request.process.terminal = request.tty;
  request.process.rows = request.rows;
  request.process.columns = request.columns;
  StdioPipes pipes;
  if (!request.tty) pipes = TRY(make_pipes(request.want_stdin, request.want_stdout, request.want_stderr));
  runtime::Stdio stdio{pipes.in ? pipes.in.get() : -1, pipes.out ? pipes.out.get() : -1,
                       pipes.err ? pipes.err.get() : -1};
  auto started = TRY(runtime::exec_process(child_.watched.pidfd.get(), request.process, cgroup_, stdio));
  auto exec = std::make_unique<ExecSession>(*this, request.exec_id, poller_, io_buffer);
  exec->child = {started.pid, std::move(started.pidfd)};
  exec->kill_with_client = request.kill_with_client && request.attachment;
  if (started.console_master) {
    TRY(sys::set_nonblocking(started.console_master.get(), true));
    pipes.ours.terminal = std::move(started.console_master);
  }
  TRY(exec->hub.start(std::move(pipes.ours)));
  if (request.attachment) (void)exec->hub.add_client(std::move(*request.attachment)).has_value();
  TRY(poller_.add(*exec, exec->child.pidfd.get(), EPOLLIN));
  execs_.push_back(std::move(exec));
  return started.pid;
}

void ExecSession::on_ready(uint32_t) {
  monitor.on_exec_ready(*this, true);
  monitor.on_time(monotonic_ns());
}

void Monitor::on_exec_ready(ExecSession& exec, bool surely) {
  if (exec.ended) return;
  if (!surely && !sys::wait_readable(exec.child.pidfd.get(), 0)) return;
  poller_.remove(exec);
  exec.exit_code = sys::wait_child(exec.child).value_or(255);
  exec.ended = true;
  exec.hub.drain();
  exec.drain_deadline = monotonic_ns() + kDrainNs;
}

// Those that were to live no longer than their client. Everything that the exec's process has started and that
// has not made a group of its own goes, too.
[[gnu::hot]] void Monitor::end_left_execs() {
  for (auto& exec : execs_) {
    if (!exec->kill_with_client || exec->ended || !exec->hub.clients_gone()) continue;
    exec->kill_with_client = false;
    (void)sys::signal_group_of_pidfd(exec->child.pidfd.get(), SIGKILL).has_value();
  }
}

// Not where it is found: a subscriber that is dropped then may have an event of the same round.
[[gnu::hot]] void Monitor::tell_detached() {
  for (int left = hub_->take_detached(); left > 0; --left) broadcast(MessageType::kDetachEvent, "");
  for (auto& exec : execs_)
    for (int left = exec->hub.take_detached(); left > 0; --left) broadcast(MessageType::kDetachEvent, exec->id);
}

[[gnu::hot]] void Monitor::settle_execs(int64_t now) {
  for (size_t i = 0; i < execs_.size();) {
    ExecSession& exec = *execs_[i];
    if (exec.ended && !exec.reported &&
        (exec.hub.drained() || exec.drain_deadline <= now || phase_ != Phase::kRunning)) {
      exec.reported = true;
      exec.drain_deadline = kNever;
      if (exec_exits_.size() >= kKeptExits) exec_exits_.erase(exec_exits_.begin());
      exec_exits_.push_back(encode_exec_exit(exec.id, exec.exit_code));
      // Before the client sees its stream end: it asks for the exit code then.
      broadcast(MessageType::kExecExitEvent, exec_exits_.back());
      exec.hub.close_clients();
    }
    if (exec.reported && exec.hub.clients_gone())
      execs_.erase(execs_.begin() + static_cast<ptrdiff_t>(i));
    else
      ++i;
  }
}

int run_monitor(UniqueFd launcher) { return Monitor().run(std::move(launcher)); }

}  // namespace caisson::monitor
