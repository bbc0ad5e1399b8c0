// SPDX-License-Identifier: Apache-2.0
#include "monitor/protocol.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>

#include "monitor/wire_format.h"
#include "sys/files.h"
#include "sys/unix_socket.h"

namespace caisson::monitor {

namespace {

constexpr size_t kFdsPerMessage = 16;
constexpr size_t kMaxFds = kMaxAttachments + 3;
constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
constexpr int kRestTimeoutMs = 5000;
constexpr size_t kMaxError = 4096;

std::unexpected<Error> malformed(const char* what) { return fail(ErrorKind::kCorrupt, "malformed %s message", what); }

Result<UniqueFd> make_sealed(std::string_view body) {
  UniqueFd fd(memfd_create("caisson-message", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail_errno("memfd_create");
  TRY(sys::write_all(fd.get(), body));
  if (fcntl(fd.get(), F_ADD_SEALS, kSeals) < 0) return fail_errno("fcntl F_ADD_SEALS");
  return fd;
}

// The seals make sure that the sender cannot cut the file under us.
Result<std::string> read_sealed(int fd) {
  struct stat st {};
  if (fcntl(fd, F_GET_SEALS) != kSeals) return malformed("unsealed");
  if (fstat(fd, &st) < 0) return fail_errno("fstat");
  if (st.st_size < 0 || static_cast<size_t>(st.st_size) > kMaxBody) return malformed("oversized");
  std::string body(static_cast<size_t>(st.st_size), '\0');
  size_t done = 0;
  while (done < body.size()) {
    ssize_t got = pread(fd, body.data() + done, body.size() - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("pread");
    if (got == 0) return malformed("short");
    done += static_cast<size_t>(got);
  }
  return body;
}

void put_options(FieldWriter& out, const Attachment& attachment) {
  out.flag(attachment.options.want_stdin);
  out.flag(attachment.options.want_stdout);
  out.flag(attachment.options.want_stderr);
  out.bytes(attachment.options.detach_keys);
  out.bytes(attachment.leftover);
  const auto& after = attachment.options.log_after;
  out.flag(after.has_value());
  out.number(after ? after->inode : 0);
  out.number(after ? after->offset : 0);
}

void put_exit(FieldWriter& out, const ExitRecord& record) {
  out.number(static_cast<int32_t>(record.exit_code));
  out.flag(record.oom_killed);
  out.number(record.started_ns);
  out.number(record.finished_ns);
  out.number(record.restart_count);
  out.bytes(std::string_view(record.error).substr(0, kMaxError));
}

void get_exit(FieldReader& in, ExitRecord& record) {
  record.exit_code = in.number<int32_t>();
  record.oom_killed = in.flag();
  record.started_ns = in.number<int64_t>();
  record.finished_ns = in.number<int64_t>();
  record.restart_count = in.number<int64_t>();
  record.error = in.text();
}

bool get_options(FieldReader& in, Attachment& attachment) {
  attachment.options.want_stdin = in.flag();
  attachment.options.want_stdout = in.flag();
  attachment.options.want_stderr = in.flag();
  attachment.options.detach_keys = in.text();
  attachment.leftover = in.text();
  bool has_log = in.flag();
  logs::LogCursor after{in.number<uint64_t>(), in.number<int64_t>()};
  if (has_log) attachment.options.log_after = after;
  return in.ok() && attachment.options.detach_keys.size() <= kMaxDetachKeys &&
         attachment.leftover.size() <= kMaxLeftover;
}

}  // namespace

Result<> send_packet(int socket, MessageType type, std::string_view body, const std::vector<int>& fds) {
  std::vector<int> all = fds;
  FieldWriter head;
  head.number(static_cast<uint8_t>(type));
  UniqueFd sealed;
  bool by_fd = body.size() > kMaxPacket - 64;
  if (by_fd) {
    sealed = TRY(make_sealed(body));
    all.insert(all.begin(), sealed.get());
  }
  head.flag(by_fd);
  head.number(static_cast<uint16_t>(all.size()));
  std::string message = head.take();
  if (!by_fd) message += body;
  size_t sent = std::min(all.size(), kFdsPerMessage);
  TRY(sys::send_message(socket, message, {all.begin(), all.begin() + static_cast<ptrdiff_t>(sent)}));
  const std::string more(1, static_cast<char>(MessageType::kMoreFds));
  while (sent < all.size()) {
    auto from = all.begin() + static_cast<ptrdiff_t>(sent);
    size_t count = std::min(all.size() - sent, kFdsPerMessage);
    TRY(sys::send_message(socket, more, {from, from + static_cast<ptrdiff_t>(count)}));
    sent += count;
  }
  return {};
}

Result<Packet> receive_packet(int socket) {
  auto message = TRY(sys::receive_message(socket, kMaxPacket));
  if (message.data.empty()) return fail(ErrorKind::kUnavailable, "the other end has closed");
  FieldReader head(message.data);
  Packet packet;
  packet.type = static_cast<MessageType>(head.number<uint8_t>());
  bool by_fd = head.flag();
  size_t count = head.number<uint16_t>();
  if (!head.ok() || count > kMaxFds || message.fds.size() > count) return malformed("head");
  packet.fds = std::move(message.fds);
  while (packet.fds.size() < count) {
    TRY(sys::wait_readable(socket, kRestTimeoutMs));
    auto rest = TRY(sys::receive_message(socket, 16));
    bool fits = rest.data.size() == 1 && rest.data[0] == static_cast<char>(MessageType::kMoreFds) &&
                !rest.fds.empty() && packet.fds.size() + rest.fds.size() <= count;
    if (!fits) return malformed("descriptor");
    for (auto& fd : rest.fds) packet.fds.push_back(std::move(fd));
  }
  if (by_fd) {
    if (packet.fds.empty()) return malformed("descriptor");
    packet.body = TRY(read_sealed(packet.fds[0].get()));
    packet.fds.erase(packet.fds.begin());
  } else {
    packet.body = message.data.substr(4);
  }
  return packet;
}

void put_policy(FieldWriter& out, const RestartPolicy& policy) {
  out.number(static_cast<uint8_t>(policy.kind));
  out.number(policy.max_retries);
}

bool get_policy(FieldReader& in, RestartPolicy& policy) {
  auto kind = in.number<uint8_t>();
  policy.max_retries = in.number<int32_t>();
  if (!in.ok() || kind > static_cast<uint8_t>(RestartPolicy::Kind::kUnlessStopped)) return false;
  policy.kind = static_cast<RestartPolicy::Kind>(kind);
  return true;
}

std::string encode_launch(const LaunchRequest& request) {
  FieldWriter out;
  out.bytes(request.container_id);
  out.bytes(request.state_dir);
  out.bytes(request.record_dir);
  out.bytes(runtime::encode(request.plan));
  out.flag(static_cast<bool>(request.rootfs));
  out.flag(static_cast<bool>(request.netns));
  out.flag(request.open_stdin);
  out.flag(request.stdin_once);
  out.flag(request.tty);
  out.number(request.rows);
  out.number(request.columns);
  out.bytes(logs::encode_config(request.log));
  out.flag(request.oom_group);
  put_policy(out, request.restart);
  out.number(static_cast<uint16_t>(request.attachments.size()));
  for (const auto& attachment : request.attachments) put_options(out, attachment);
  return out.take();
}

std::vector<int> launch_fds(const LaunchRequest& request) {
  std::vector<int> fds;
  if (request.rootfs) fds.push_back(request.rootfs.get());
  if (request.netns) fds.push_back(request.netns.get());
  for (const auto& attachment : request.attachments) fds.push_back(attachment.socket.get());
  return fds;
}

Result<LaunchRequest> decode_launch(Packet&& packet) {
  if (packet.type != MessageType::kLaunch) return malformed("launch");
  FieldReader in(packet.body);
  LaunchRequest request;
  request.container_id = in.text();
  request.state_dir = in.text();
  request.record_dir = in.text();
  auto plan = in.bytes();
  bool has_rootfs = in.flag(), has_netns = in.flag();
  request.open_stdin = in.flag();
  request.stdin_once = in.flag();
  request.tty = in.flag();
  request.rows = in.number<uint16_t>();
  request.columns = in.number<uint16_t>();
  auto log = in.bytes();
  request.oom_group = in.flag();
  if (!get_policy(in, request.restart)) return malformed("launch");
  size_t count = in.number<uint16_t>();
  if (!in.ok() || count > kMaxAttachments) return malformed("launch");
  if (packet.fds.size() != count + has_rootfs + has_netns) return malformed("launch");
  auto fd = packet.fds.begin();
  if (has_rootfs) request.rootfs = std::move(*fd++);
  if (has_netns) request.netns = std::move(*fd++);
  for (size_t i = 0; i < count; ++i) {
    Attachment attachment;
    if (!get_options(in, attachment)) return malformed("launch");
    attachment.socket = std::move(*fd++);
    request.attachments.push_back(std::move(attachment));
  }
  if (!in.complete()) return malformed("launch");
  request.log = TRY(logs::decode_config(log));
  request.plan = TRY(runtime::decode_plan(plan));
  return request;
}

std::string encode_attachment(const Attachment& attachment) {
  FieldWriter out;
  put_options(out, attachment);
  return out.take();
}

Result<Attachment> decode_attachment(Packet&& packet) {
  FieldReader in(packet.body);
  Attachment attachment;
  if (!get_options(in, attachment) || !in.complete() || packet.fds.size() != 1) return malformed("attach");
  attachment.socket = std::move(packet.fds[0]);
  return attachment;
}

std::string encode_exec(const ExecRequest& request) {
  FieldWriter out;
  out.bytes(request.exec_id);
  out.bytes(runtime::encode(request.process));
  out.flag(request.tty);
  out.number(request.rows);
  out.number(request.columns);
  out.flag(request.want_stdin);
  out.flag(request.want_stdout);
  out.flag(request.want_stderr);
  out.flag(request.kill_with_client);
  out.flag(request.attachment.has_value());
  if (request.attachment) put_options(out, *request.attachment);
  return out.take();
}

std::vector<int> exec_fds(const ExecRequest& request) {
  if (!request.attachment) return {};
  return {request.attachment->socket.get()};
}

Result<ExecRequest> decode_exec(Packet&& packet) {
  FieldReader in(packet.body);
  ExecRequest request;
  request.exec_id = in.text();
  auto process = in.bytes();
  request.tty = in.flag();
  request.rows = in.number<uint16_t>();
  request.columns = in.number<uint16_t>();
  request.want_stdin = in.flag();
  request.want_stdout = in.flag();
  request.want_stderr = in.flag();
  request.kill_with_client = in.flag();
  bool attached = in.flag();
  if (packet.fds.size() != static_cast<size_t>(attached)) return malformed("exec");
  if (attached) {
    Attachment attachment;
    if (!get_options(in, attachment)) return malformed("exec");
    attachment.socket = std::move(packet.fds[0]);
    request.attachment = std::move(attachment);
  }
  if (!in.complete() || request.exec_id.empty() || request.exec_id.size() > 256) return malformed("exec");
  request.process = TRY(runtime::decode_process_plan(process));
  return request;
}

std::string encode_running(const Running& running) {
  FieldWriter out;
  out.number(running.monitor_pid);
  out.number(running.pid);
  out.number(running.pid_start_time);
  out.number(running.started_ns);
  out.number(running.restart_count);
  out.flag(running.restarting);
  out.flag(running.oom_killed);
  put_exit(out, running.last_exit);
  return out.take();
}

Result<Running> decode_running(std::string_view body) {
  FieldReader in(body);
  Running running;
  running.monitor_pid = in.number<pid_t>();
  running.pid = in.number<pid_t>();
  running.pid_start_time = in.number<uint64_t>();
  running.started_ns = in.number<int64_t>();
  running.restart_count = in.number<int64_t>();
  running.restarting = in.flag();
  running.oom_killed = in.flag();
  get_exit(in, running.last_exit);
  if (!in.complete()) return malformed("state");
  return running;
}

std::string encode_exit(const ExitRecord& record) {
  FieldWriter out;
  put_exit(out, record);
  return out.take();
}

std::string encode_oom(const OomDetails& details) {
  FieldWriter out;
  out.number(details.pid);
  out.bytes(details.name);
  out.number(details.memory_limit);
  out.number(details.memory_max_usage);
  return out.take();
}

std::string encode_exec_exit(const std::string& exec_id, int exit_code) {
  FieldWriter out;
  out.bytes(exec_id);
  out.number(static_cast<int32_t>(exit_code));
  return out.take();
}

std::string encode_error(const Error& error) {
  FieldWriter out;
  out.number(static_cast<uint8_t>(error.kind));
  out.number(static_cast<int32_t>(error.err));
  out.bytes(std::string_view(error.message).substr(0, kMaxPacket / 2));
  return out.take();
}

std::unexpected<Error> decode_error(std::string_view body) {
  FieldReader in(body);
  Error error;
  auto kind = in.number<uint8_t>();
  error.err = in.number<int32_t>();
  error.message = in.text();
  if (!in.complete() || kind > static_cast<uint8_t>(ErrorKind::kInternal)) return malformed("error");
  error.kind = static_cast<ErrorKind>(kind);
  return std::unexpected(std::move(error));
}

Result<Event> decode_event(const Packet& packet) {
  FieldReader in(packet.body);
  Event event;
  switch (packet.type) {
    case MessageType::kStateEvent:
      event.kind = Event::Kind::kState;
      event.running = TRY(decode_running(packet.body));
      return event;
    case MessageType::kExitEvent:
    case MessageType::kRestartingEvent:
      event.kind = packet.type == MessageType::kExitEvent ? Event::Kind::kExit : Event::Kind::kRestarting;
      get_exit(in, event.exit);
      break;
    case MessageType::kExecExitEvent:
      event.kind = Event::Kind::kExecExit;
      event.exec_id = in.text();
      event.exec_exit_code = in.number<int32_t>();
      break;
    case MessageType::kDetachEvent:
      event.kind = Event::Kind::kDetached;
      event.exec_id = packet.body;
      return event;
    case MessageType::kOomEvent:
      event.kind = Event::Kind::kOom;
      event.oom.pid = in.number<pid_t>();
      event.oom.name = in.text();
      event.oom.memory_limit = in.number<uint64_t>();
      event.oom.memory_max_usage = in.number<uint64_t>();
      break;
    default: return malformed("event");
  }
  if (!in.complete()) return malformed("event");
  return event;
}

}  // namespace caisson::monitor
