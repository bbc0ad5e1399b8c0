// SPDX-License-Identifier: Apache-2.0
// UDP: one socket a published port, one more for each client that talks to it. A client is known by its address, its
// port and the address it asked: answers leave from there. Clients are forgotten after a while, as in the kernel.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "relay/table.h"
#include "sys/event_loop.h"

namespace caisson::relay {

struct UdpLimits {
  size_t flows = 2048;  // beyond it the longest silent one without an answer goes, or the new one is not served
  int64_t unanswered_ms = 30000, answered_ms = 180000;
};

class UdpRelay {
 public:
  UdpRelay(sys::EventLoop& loop, Clock& clock, UdpLimits limits);
  ~UdpRelay();
  UdpRelay(const UdpRelay&) = delete;
  UdpRelay& operator=(const UdpRelay&) = delete;

  // `sockets`: one for each port of the entry, in order.
  Result<> add(uint64_t number, const Entry& entry, std::vector<UniqueFd> sockets);
  void drop(uint64_t number);
  size_t sockets() const { return ports_.size(); }
  std::vector<int> sockets_from(size_t index, size_t limit) const;  // of all entries, in a stable order
  size_t flows() const { return flows_.size(); }
  void forget_silent();  // by the clock; runs by itself too

 private:
  struct PortKey {
    uint64_t entry = 0;
    uint16_t offset = 0;
    auto operator<=>(const PortKey&) const = default;
  };
  struct Port {
    UniqueFd fd;
    SocketAddress container;
  };
  struct FlowKey {
    PortKey port;
    Endpoint client;
    uint32_t scope = 0;  // interface of a link-local client
    Address local = {};  // what it asked
    auto operator<=>(const FlowKey&) const = default;
  };
  struct Flow {
    UniqueFd fd;
    int64_t used_ns = 0;
    bool answered = false;
    std::list<const FlowKey*>::iterator place;
  };
  using Flows = std::map<FlowKey, Flow>;
  struct Batch;

  void on_port(const PortKey& key);
  void on_flow(const FlowKey& key);
  Flow* flow_of(const FlowKey& key, const Port& port);
  bool make_room();
  void touch(Flow& flow, bool answer);
  void forget(Flows::iterator found);
  void arm_timer();
  Batch& batch();

  sys::EventLoop& loop_;
  Clock& clock_;
  UdpLimits limits_;
  std::map<PortKey, Port> ports_;
  Flows flows_;
  std::list<const FlowKey*> unanswered_, answered_;  // longest silent first
  std::unique_ptr<Batch> batch_;
  sys::EventLoop::TimerId timer_ = 0;
};

}  // namespace caisson::relay
