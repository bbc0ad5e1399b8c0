// SPDX-License-Identifier: Apache-2.0
#include "sys/control_socket.h"

#include <sys/epoll.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "sys/unix_socket.h"

namespace caisson::sys {

ControlSocket::ControlSocket(EventLoop& loop, Handler& handler, Options options)
    : loop_(loop), handler_(handler), options_(std::move(options)) {}

ControlSocket::~ControlSocket() {
  for (UniqueFd* fd : {&options_.listener, &engine_, &newcomer_})
    if (*fd) loop_.remove(fd->get());
}

Result<> ControlSocket::start(UniqueFd first) {
  if (options_.listener) TRY(loop_.add(options_.listener.get(), EPOLLIN, [this](uint32_t) { on_listener(); }));
  if (first) watch(engine_, std::move(first));
  return {};
}

void ControlSocket::on_listener() {
  auto fd = accept_connection(options_.listener.get());
  if (!fd) return log_debug("%s: %s, ignoring", options_.name, fd.error().message.c_str());
  auto peer = peer_credentials(fd->get());
  if (!peer || (peer->uid != 0 && peer->uid != options_.owner))
    return log_warn("%s: a stranger on the control socket", options_.name);
  watch(newcomer_, std::move(*fd));
}

void ControlSocket::watch(UniqueFd& place, UniqueFd connection) {
  if (place) loop_.remove(place.get());
  place = std::move(connection);
  auto added = set_nonblocking(place.get(), true);
  if (added) added = loop_.add(place.get(), EPOLLIN, [this, &place](uint32_t) { on_request(place); });
  if (added) return;
  log_warn("%s: %s", options_.name, added.error().message.c_str());
  place.reset();
}

void ControlSocket::on_request(UniqueFd& from) {
  auto message = receive_message(from.get(), options_.max_message);
  if (!message && (message.error().err == EAGAIN || message.error().err == EINTR)) return;
  if (!message || message->data.empty()) return disconnect(from);
  Request request{message->data, &from == &newcomer_, std::move(message->fds), {}};
  std::string answer = handler_.answer(request);
  if (answer.empty()) return disconnect(from);
  if (request.newcomer) {
    loop_.remove(newcomer_.get());
    watch(engine_, std::move(newcomer_));
    if (!engine_) return handler_.disconnected();
  }
  // An engine waits for each answer: a full buffer means that it has gone astray.
  if (auto sent = send_message(engine_.get(), answer, request.answer_fds); !sent) disconnect(engine_);
}

void ControlSocket::disconnect(UniqueFd& from) {
  loop_.remove(from.get());
  from.reset();
  handler_.disconnected();
}

}  // namespace caisson::sys
