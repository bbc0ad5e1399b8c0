// SPDX-License-Identifier: Apache-2.0
// The engine's requests to the relay. Stops the loop when there is nothing to do any more.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "relay/service.h"
#include "sys/control_socket.h"
#include "sys/event_loop.h"

namespace caisson::relay {

class Control : private sys::ControlSocket::Handler {
 public:
  // `listener` may be empty; `owner` is the user that may connect, besides root. The program ends when there has been
  // no entry for `linger_ms`, at once when no engine is connected either.
  Control(sys::EventLoop& loop, Service& service, UniqueFd listener, uid_t owner, int64_t linger_ms = kLingerMs);
  ~Control() override;
  // `first`: a connection that is there already, or empty.
  Result<> start(UniqueFd first);

  // Containers that are replaced should not cost a start each.
  static constexpr int64_t kLingerMs = 10000;

 private:
  std::string answer(sys::ControlSocket::Request& asked) override;
  void disconnected() override;
  void check_idle();

  sys::EventLoop& loop_;
  Service& service_;
  sys::ControlSocket socket_;
  int64_t linger_ms_;
  sys::EventLoop::TimerId idle_ = 0;
};

}  // namespace caisson::relay
