// SPDX-License-Identifier: Apache-2.0
// The monitor's side of the engine's requests.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "monitor/monitor_state.h"
#include "monitor/wire_format.h"
#include "sys/unix_socket.h"

namespace caisson::monitor {

namespace {
constexpr size_t kMaxConnections = 256;
}

void Monitor::Listener::on_ready(uint32_t) { monitor.on_connect(); }
void Monitor::Connection::on_ready(uint32_t) { monitor.on_request(*this); }

void Monitor::on_connect() {
  auto socket = sys::accept_connection(listener_.fd.get());
  if (!socket || connections_.size() >= kMaxConnections) return;
  auto peer = sys::peer_credentials(socket->get());
  if (!peer || (peer->uid != 0 && peer->uid != geteuid())) return;
  auto connection = std::make_unique<Connection>(*this);
  connection->fd = std::move(*socket);
  // A peer that does not read must not hold us up.
  if (!sys::set_nonblocking(connection->fd.get(), true)) return;
  if (!poller_.add(*connection, connection->fd.get(), EPOLLIN)) return;
  connections_.push_back(std::move(connection));
}

void Monitor::drop(Connection& connection) {
  poller_.remove(connection);
  std::erase_if(connections_, [&](auto& other) { return other.get() == &connection; });
}

void Monitor::on_request(Connection& connection) {
  auto packet = receive_packet(connection.fd.get());
  if (!packet || connection.subscriber) return drop(connection);
  connection.subscriber = answer(connection.fd.get(), std::move(*packet));
  if (!connection.subscriber) drop(connection);
}

bool Monitor::answer(int socket, Packet&& packet) {
  if (packet.type == MessageType::kSubscribe) return subscribe(socket);
  if (packet.type == MessageType::kExec) {
    auto request = decode_exec(std::move(packet));
    auto pid = request ? start_exec(std::move(*request)) : Result<pid_t>(std::unexpected(request.error()));
    FieldWriter body;
    body.number(pid.value_or(0));
    if (pid)
      (void)send_packet(socket, MessageType::kExecStarted, body.take()).has_value();
    else
      (void)send_packet(socket, MessageType::kError, encode_error(pid.error())).has_value();
    return false;
  }
  auto done = carry_out(std::move(packet));
  if (done)
    (void)send_packet(socket, MessageType::kOk, {}).has_value();
  else
    (void)send_packet(socket, MessageType::kError, encode_error(done.error())).has_value();
  return false;
}

Result<> Monitor::carry_out(Packet&& packet) {
  FieldReader in(packet.body);
  if (packet.type == MessageType::kSignal) {
    auto number = in.number<int32_t>();
    bool last = in.flag();
    if (!in.complete()) return fail(ErrorKind::kInvalid, "malformed request");
    return send_signal(number, last);
  }
  if (packet.type == MessageType::kRestartPolicy) {
    RestartPolicy policy;
    if (!get_policy(in, policy) || !in.complete()) return fail(ErrorKind::kInvalid, "malformed request");
    decision_.set_policy(policy);
    return {};
  }
  if (phase_ != Phase::kRunning) return fail(ErrorKind::kConflict, "the container is not running");
  switch (packet.type) {
    case MessageType::kAttach: return hub_->add_client(TRY(decode_attachment(std::move(packet))));
    case MessageType::kResize: {
      auto rows = in.number<uint16_t>(), columns = in.number<uint16_t>();
      if (!in.complete()) break;
      return hub_->resize(rows, columns);
    }
    case MessageType::kResizeExec: {
      auto id = in.bytes();
      auto rows = in.number<uint16_t>(), columns = in.number<uint16_t>();
      if (!in.complete()) break;
      auto exec = std::find_if(execs_.begin(), execs_.end(), [&](auto& e) { return e->id == id && !e->ended; });
      if (exec == execs_.end()) return fail(ErrorKind::kNotFound, "exec is not running");
      return (*exec)->hub.resize(rows, columns);
    }
    default: break;
  }
  return fail(ErrorKind::kInvalid, "malformed request");
}

Result<> Monitor::send_signal(int number, bool last) {
  stopped_by_hand_ |= last;
  if (phase_ == Phase::kWaiting && last) {
    start_at_ = 0;  // the end, once this request is answered
    return {};
  }
  if (phase_ != Phase::kRunning) return fail(ErrorKind::kConflict, "the container is not running");
  return sys::signal_pidfd(child_.watched.pidfd.get(), number);
}

bool Monitor::subscribe(int socket) {
  if (!send_packet(socket, MessageType::kStateEvent, encode_running(running_))) return false;
  for (const auto& exit : exec_exits_)
    if (!send_packet(socket, MessageType::kExecExitEvent, exit)) return false;
  return true;
}

void Monitor::broadcast(MessageType type, const std::string& body) {
  for (size_t i = 0; i < connections_.size();) {
    Connection& connection = *connections_[i];
    // One that lets its events pile up is cut off; it learns all that matters when it subscribes again.
    if (connection.subscriber && !send_packet(connection.fd.get(), type, body))
      drop(connection);
    else
      ++i;
  }
}

}  // namespace caisson::monitor
