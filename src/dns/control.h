// SPDX-License-Identifier: Apache-2.0
// The engine's requests to the service, and when the program ends.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "dns/service.h"
#include "sys/control_socket.h"
#include "sys/event_loop.h"

namespace caisson::dns {

class Control : private sys::ControlSocket::Handler {
 public:
  // `listener` may be empty; `owner` is the user that may connect, besides root.
  Control(sys::EventLoop& loop, Service& service, UniqueFd listener, uid_t owner);
  // `first`: a connection that is there already, or empty.
  Result<> start(UniqueFd first);

 private:
  std::string answer(sys::ControlSocket::Request& asked) override;
  void disconnected() override;

  sys::EventLoop& loop_;
  Service& service_;
  sys::ControlSocket socket_;
};

}  // namespace caisson::dns
