// SPDX-License-Identifier: Apache-2.0
#include "relay/control.h"

#include <sys/epoll.h>

#include <utility>

#include "base/log.h"
#include "sys/unix_socket.h"

namespace caisson::relay {

Control::Control(sys::EventLoop& loop, Service& service, UniqueFd listener, uid_t owner, int64_t linger_ms)
    : loop_(loop), service_(service), listener_(std::move(listener)), owner_(owner), linger_ms_(linger_ms) {}

Control::~Control() {
  for (UniqueFd* fd : {&listener_, &engine_, &candidate_})
    if (*fd) loop_.remove(fd->get());
  loop_.cancel(idle_);
}

Result<> Control::start(UniqueFd first) {
  if (listener_) TRY(loop_.add(listener_.get(), EPOLLIN, [this](uint32_t) { on_listener(); }));
  if (first) watch(engine_, std::move(first));
  check_idle();
  return {};
}

void Control::on_listener() {
  auto fd = sys::accept_connection(listener_.get());
  if (!fd) return log_debug("relay: %s, ignoring", fd.error().message.c_str());
  auto peer = sys::peer_credentials(fd->get());
  if (!peer || (peer->uid != 0 && peer->uid != owner_)) return log_warn("relay: a stranger on the control socket");
  watch(candidate_, std::move(*fd));
}

void Control::watch(UniqueFd& place, UniqueFd connection) {
  if (place) loop_.remove(place.get());
  place = std::move(connection);
  auto added = sys::set_nonblocking(place.get(), true);
  if (added) added = loop_.add(place.get(), EPOLLIN, [this, &place](uint32_t) { on_request(place); });
  if (added) return;
  log_warn("relay: %s", added.error().message.c_str());
  place.reset();
}

void Control::on_request(UniqueFd& from) {
  auto message = sys::receive_message(from.get(), kMaxControlMessage);
  if (!message && (message.error().err == EAGAIN || message.error().err == EINTR)) return;
  if (!message || message->data.empty()) return disconnect(from);
  auto request = json::decode<ControlRequest>(message->data, {.max_depth = 4, .max_element_bytes = 1 << 16});
  bool is_candidate = &from == &candidate_;
  if (is_candidate && (!request || request->type != "hello")) return disconnect(from);
  if (is_candidate) {
    loop_.remove(candidate_.get());
    watch(engine_, std::move(candidate_));
    if (!engine_) return;
  }
  ControlAnswer answer;
  std::vector<int> answer_fds;
  if (!request)
    answer.error = request.error().message;
  else
    answer = service_.apply(*request, message->fds, answer_fds);
  check_idle();
  // An engine waits for each answer: a full buffer means that it has gone astray.
  if (auto sent = sys::send_message(engine_.get(), json::encode(answer), answer_fds); !sent) disconnect(engine_);
}

void Control::disconnect(UniqueFd& from) {
  loop_.remove(from.get());
  from.reset();
  // With entries the next engine is waited for; without any there are no connections either.
  if (!engine_ && !candidate_ && service_.entries() == 0) loop_.stop();
}

void Control::check_idle() {
  loop_.cancel(idle_);
  idle_ = 0;
  if (service_.entries() > 0) return;
  idle_ = loop_.after_ms(linger_ms_, [this] { loop_.stop(); });
}

}  // namespace caisson::relay
