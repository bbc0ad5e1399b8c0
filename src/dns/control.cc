// SPDX-License-Identifier: Apache-2.0
#include "dns/control.h"

#include <utility>

namespace caisson::dns {

Control::Control(sys::EventLoop& loop, Service& service, UniqueFd listener, uid_t owner)
    : loop_(loop), service_(service), socket_(loop, *this, {"dns", std::move(listener), owner, kMaxControlMessage}) {}

Result<> Control::start(UniqueFd first) { return socket_.start(std::move(first)); }

std::string Control::answer(sys::ControlSocket::Request& asked) {
  auto request = json::decode<ControlRequest>(asked.data, {.max_depth = 8, .max_element_bytes = 1 << 20});
  if (asked.newcomer && (!request || request->type != "hello")) return {};
  if (!request) return json::encode(ControlAnswer{.error = request.error().message});
  if (request->type == "quit") {
    loop_.stop();
    return {};
  }
  return json::encode(service_.apply(*request, asked.fds, asked.answer_fds));
}

void Control::disconnected() {
  // With containers to serve, the next engine is waited for.
  if (!socket_.is_connected() && service_.scopes() == 0) loop_.stop();
}

}  // namespace caisson::dns
