// SPDX-License-Identifier: Apache-2.0
#include "relay/control.h"

#include <utility>

namespace caisson::relay {

Control::Control(sys::EventLoop& loop, Service& service, UniqueFd listener, uid_t owner, int64_t linger_ms)
    : loop_(loop),
      service_(service),
      socket_(loop, *this, {"relay", std::move(listener), owner, kMaxControlMessage}),
      linger_ms_(linger_ms) {}

Control::~Control() { loop_.cancel(idle_); }

Result<> Control::start(UniqueFd first) {
  TRY(socket_.start(std::move(first)));
  check_idle();
  return {};
}

std::string Control::answer(sys::ControlSocket::Request& asked) {
  auto request = json::decode<ControlRequest>(asked.data, {.max_depth = 4, .max_element_bytes = 1 << 16});
  if (asked.newcomer && (!request || request->type != "hello")) return {};
  if (!request) return json::encode(ControlAnswer{.error = request.error().message});
  auto answer = service_.apply(*request, asked.fds, asked.answer_fds);
  check_idle();
  return json::encode(answer);
}

void Control::disconnected() {
  // With entries the next engine is waited for; without any there are no connections either.
  if (!socket_.is_connected() && service_.entries() == 0) loop_.stop();
}

void Control::check_idle() {
  loop_.cancel(idle_);
  idle_ = 0;
  if (service_.entries() > 0) return;
  idle_ = loop_.after_ms(linger_ms_, [this] { loop_.stop(); });
}

}  // namespace caisson::relay
