// SPDX-License-Identifier: Apache-2.0
#include "dns/control.h"

#include <sys/epoll.h>

#include <utility>

#include "base/log.h"
#include "sys/unix_socket.h"

namespace caisson::dns {

Control::Control(sys::EventLoop& loop, Service& service, UniqueFd listener, uid_t owner)
    : loop_(loop), service_(service), listener_(std::move(listener)), owner_(owner) {}

Control::~Control() {
  if (connection_) loop_.remove(connection_.get());
  if (listener_) loop_.remove(listener_.get());
}

Result<> Control::start(UniqueFd first) {
  if (listener_) TRY(loop_.add(listener_.get(), EPOLLIN, [this](uint32_t) { on_listener(); }));
  if (first) use(std::move(first));
  return {};
}

void Control::on_listener() {
  auto fd = sys::accept_connection(listener_.get());
  if (!fd) return log_debug("dns: %s, ignoring", fd.error().message.c_str());
  auto peer = sys::peer_credentials(fd->get());
  if (!peer || (peer->uid != 0 && peer->uid != owner_)) return log_warn("dns: a stranger on the control socket");
  use(std::move(*fd));
}

void Control::use(UniqueFd connection) {
  if (connection_) loop_.remove(connection_.get());
  connection_ = std::move(connection);
  auto added = sys::set_nonblocking(connection_.get(), true);
  if (added) added = loop_.add(connection_.get(), EPOLLIN, [this](uint32_t) { on_request(); });
  if (added) return;
  log_warn("dns: %s", added.error().message.c_str());
  connection_.reset();
}

void Control::on_request() {
  auto message = sys::receive_message(connection_.get(), kMaxControlMessage);
  if (!message && (message.error().err == EAGAIN || message.error().err == EINTR)) return;
  if (!message || message->data.empty()) return disconnect();
  auto request = json::decode<ControlRequest>(message->data, {.max_depth = 8, .max_element_bytes = 1 << 20});
  ControlAnswer answer;
  std::vector<int> answer_fds;
  if (!request)
    answer.error = request.error().message;
  else if (request->type == "quit")
    return loop_.stop();
  else
    answer = service_.apply(*request, message->fds, answer_fds);
  // An engine waits for each answer: a full buffer means that it has gone astray.
  if (auto sent = sys::send_message(connection_.get(), json::encode(answer), answer_fds); !sent) disconnect();
}

void Control::disconnect() {
  loop_.remove(connection_.get());
  connection_.reset();
  // With containers to serve, the next engine is waited for.
  if (service_.scopes() == 0) loop_.stop();
}

}  // namespace caisson::dns
