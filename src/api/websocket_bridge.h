// SPDX-License-Identifier: Apache-2.0
// One websocket client of an attached container, on the event loop: frames of the client to the container's
// stdin, its output (Docker's 8-byte frames taken off) to frames of the client. Neither side is read faster
// than the other takes it.
#pragma once

#include <string>

#include "base/unique_fd.h"
#include "sys/event_loop.h"
#include "wire/websocket.h"

namespace caisson::api {

struct BridgeEnds {
  UniqueFd client;       // behind the handshake
  std::string leftover;  // what the client sent behind its request
  UniqueFd container;    // our end of the socket that the container's monitor has
  bool framed = true;    // not with a tty
  bool want_stdin = false;
  websocket::Opcode opcode = websocket::Opcode::kBinary;
};

// Any thread. Lives until both sides are done or one breaks.
void start_bridge(sys::EventLoop& loop, BridgeEnds ends);

}  // namespace caisson::api
