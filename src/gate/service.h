// SPDX-License-Identifier: Apache-2.0
// caisson-gate as a whole: packets of its queue, engines at its socket, and when to end. Keeps nothing of packets.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/event_loop.h"
#include "sys/packet_queue.h"

namespace caisson::gate {

class Service {
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
  Service(sys::EventLoop& loop, Parts parts) : loop_(loop), parts_(std::move(parts)) {}
  ~Service();

  Result<> start(UniqueFd first);  // a connection that is there already, or empty

 private:
  void on_packets();
  void on_packet(const sys::QueuedPacket& packet);
  void on_listener();
  void watch(UniqueFd& place, UniqueFd connection);
  void on_request(UniqueFd& from);
  void disconnect(UniqueFd& from);
  void check_need();

  sys::EventLoop& loop_;
  Parts parts_;
  UniqueFd engine_, candidate_;  // the candidate has not said hello yet
  sys::EventLoop::TimerId check_ = 0;
};

}  // namespace caisson::gate
