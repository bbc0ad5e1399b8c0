// SPDX-License-Identifier: Apache-2.0
// caisson-gate as a whole: packets of its queue, engines at its socket, and when to end. Keeps nothing of packets.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/control_socket.h"
#include "sys/event_loop.h"
#include "sys/packet_queue.h"

namespace caisson::gate {

class Service : private sys::ControlSocket::Handler {
 public:
  struct Parts {
    UniqueFd listener;  // the newest engine that says hello counts
    uid_t owner = 0;    // may connect, besides root
    uint16_t number = 0;
    sys::PacketQueue queue;
    sys::PacketSender sender;
    // Whether rules still lead ports here. Without any, and without an engine, the program ends.
    std::function<bool()> is_needed;
  };
  Service(sys::EventLoop& loop, Parts parts);
  ~Service() override;

  Result<> start(UniqueFd first);  // a connection that is there already, or empty

 private:
  void on_packets();
  void on_packet(const sys::QueuedPacket& packet);
  std::string answer(sys::ControlSocket::Request& asked) override;
  void disconnected() override { check_need(); }
  void check_need();

  sys::EventLoop& loop_;
  Parts parts_;
  sys::ControlSocket socket_;
  sys::EventLoop::TimerId check_ = 0;
};

}  // namespace caisson::gate
