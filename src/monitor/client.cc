// SPDX-License-Identifier: Apache-2.0
#include "monitor/client.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/text.h"
#include "monitor/protocol.h"
#include "monitor/wire_format.h"
#include "sys/files.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace caisson::monitor {

namespace {

constexpr int kLauncherFd = 3;            // in the monitor
constexpr int kLaunchTimeoutMs = 120000;  // a root on a network file system may be slow
constexpr int kCallTimeoutMs = 10000;
constexpr int kExecTimeoutMs = 60000;
constexpr int kEndTimeoutMs = 5000;

Result<Packet> ask(const std::string& state_dir, MessageType type, std::string_view body, const std::vector<int>& fds,
                   int timeout_ms) {
  auto socket = TRY(sys::connect_unix(state_dir + "/monitor.sock", SOCK_SEQPACKET));
  TRY(send_packet(socket.get(), type, body, fds));
  TRY_CTX(sys::wait_readable(socket.get(), timeout_ms), "asking the monitor");
  auto packet = TRY_CTX(receive_packet(socket.get()), "asking the monitor");
  if (packet.type == MessageType::kError) return decode_error(packet.body);
  return packet;
}

Result<> order(const std::string& state_dir, MessageType type, std::string_view body,
               const std::vector<int>& fds = {}) {
  auto packet = TRY(ask(state_dir, type, body, fds, kCallTimeoutMs));
  if (packet.type != MessageType::kOk) return fail(ErrorKind::kCorrupt, "the monitor gave an unexpected answer");
  return {};
}

Result<Running> await_running(int socket) {
  TRY(sys::wait_readable(socket, kLaunchTimeoutMs));
  auto packet = receive_packet(socket);
  if (!packet) return fail(ErrorKind::kInternal, "the monitor ended before the container was started");
  if (packet->type == MessageType::kError) return decode_error(packet->body);
  if (packet->type != MessageType::kRunning) return fail(ErrorKind::kCorrupt, "the monitor gave an unexpected answer");
  return decode_running(packet->body);
}

}  // namespace

static bool is_monitor(pid_t pid) {
  auto stat = sys::read_file(format("/proc/%d/stat", pid), 4096);
  return stat && stat->contains(" (caisson-monitor) ");
}

// Monitors that nobody has waited for with reap(). Stops at the first other zombie, which
// somebody else is about to wait for.
static void reap_forgotten_ones() {
  siginfo_t info{};
  while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0 && is_monitor(info.si_pid)) {
    reap(info.si_pid);
    info = {};
  }
}

Result<Running> launch(LaunchRequest&& given) {
  reap_forgotten_ones();
  LaunchRequest request = std::move(given);  // so that every descriptor is closed when this returns
  if (request.attachments.size() > kMaxAttachments)
    return fail(ErrorKind::kExhausted, "more than %zu attachments", kMaxAttachments);
  request.plan.process.terminal = request.tty;
  request.plan.process.rows = request.rows;
  request.plan.process.columns = request.columns;
  auto sockets = TRY(sys::socket_pair(SOCK_SEQPACKET));
  // In the socket before the monitor exists: it finds its work without waiting.
  TRY(send_packet(sockets.first.get(), MessageType::kLaunch, encode_launch(request), launch_fds(request)));
  sys::SpawnRequest spawn;
  spawn.program = request.monitor_program;
  spawn.args = {"caisson-monitor", request.container_id};
  spawn.fds = {{sockets.second.get(), kLauncherFd}};
  spawn.new_session = true;
  auto child = sys::spawn(spawn);
  if (!child) {
    // kNotFound and kDenied would be taken for the container's program.
    Error error = std::move(child).error();
    error.kind = ErrorKind::kInternal;
    return std::unexpected(std::move(error));
  }
  sockets.second.reset();
  auto running = await_running(sockets.first.get());
  if (running) return running;
  // A monitor whose launcher has gone takes everything down and ends by itself.
  sockets.first.reset();
  if (!sys::wait_readable(child->pidfd.get(), kEndTimeoutMs))
    (void)sys::signal_pidfd(child->pidfd.get(), SIGKILL).has_value();
  (void)sys::wait_child(*child).has_value();
  return running;
}

bool reap(pid_t monitor_pid) {
  pid_t got;
  do {
    got = waitpid(monitor_pid, nullptr, WNOHANG);
  } while (got < 0 && errno == EINTR);
  return got != 0;
}

Result<> attach(const std::string& state_dir, Attachment&& given) {
  Attachment attachment = std::move(given);
  return order(state_dir, MessageType::kAttach, encode_attachment(attachment), {attachment.socket.get()});
}

Result<> resize(const std::string& state_dir, uint16_t rows, uint16_t columns) {
  FieldWriter body;
  body.number(rows);
  body.number(columns);
  return order(state_dir, MessageType::kResize, body.take());
}

Result<> set_restart_policy(const std::string& state_dir, RestartPolicy policy) {
  FieldWriter body;
  put_policy(body, policy);
  return order(state_dir, MessageType::kRestartPolicy, body.take());
}

Result<> signal(const std::string& state_dir, int number, bool last) {
  FieldWriter body;
  body.number(static_cast<int32_t>(number));
  body.flag(last);
  return order(state_dir, MessageType::kSignal, body.take());
}

Result<ExecStarted> exec(const std::string& state_dir, ExecRequest&& given) {
  ExecRequest request = std::move(given);
  auto packet = TRY(ask(state_dir, MessageType::kExec, encode_exec(request), exec_fds(request), kExecTimeoutMs));
  FieldReader in(packet.body);
  ExecStarted started{in.number<pid_t>()};
  if (packet.type != MessageType::kExecStarted || !in.complete())
    return fail(ErrorKind::kCorrupt, "the monitor gave an unexpected answer");
  return started;
}

Result<> resize_exec(const std::string& state_dir, const std::string& exec_id, uint16_t rows, uint16_t columns) {
  FieldWriter body;
  body.bytes(exec_id);
  body.number(rows);
  body.number(columns);
  return order(state_dir, MessageType::kResizeExec, body.take());
}

Result<UniqueFd> subscribe(const std::string& state_dir) {
  auto socket = TRY(sys::connect_unix(state_dir + "/monitor.sock", SOCK_SEQPACKET));
  TRY(send_packet(socket.get(), MessageType::kSubscribe, {}));
  return socket;
}

Result<Event> read_event(int subscription) {
  auto packet = receive_packet(subscription);
  if (!packet && (packet.error().kind == ErrorKind::kUnavailable || packet.error().err == ECONNRESET) &&
      packet.error().err != EAGAIN)
    return Event{};
  return decode_event(TRY(std::move(packet)));
}

}  // namespace caisson::monitor
