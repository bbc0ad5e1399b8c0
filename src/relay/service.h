// SPDX-License-Identifier: Apache-2.0
// The relay as a whole: the table of entries with what serves them, changed by the engine's requests.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "relay/table.h"
#include "relay/tcp_relay.h"
#include "relay/udp_relay.h"
#include "sys/event_loop.h"
#include "wire/relay_control.h"

namespace caisson::relay {

struct ServiceOptions {
  TcpLimits tcp;
  UdpLimits udp;
  OriginalDestination original = original_destination;
};

class Service {
 public:
  Service(sys::EventLoop& loop, Clock& clock, ServiceOptions options);

  // Carries out one request. `fds` came with it; `answer_fds` go with the answer and stay ours.
  ControlAnswer apply(const ControlRequest& request, std::vector<UniqueFd>& fds, std::vector<int>& answer_fds);
  size_t entries() const { return table_.size(); }
  const TcpRelay& tcp() const { return tcp_; }
  const UdpRelay& udp() const { return udp_; }

 private:
  Result<> hello(std::vector<UniqueFd>& fds);
  Result<> add(const ControlRequest& request, std::vector<UniqueFd>& fds);
  Result<> remove(const ControlRequest& request);
  void drop(uint64_t number);

  Table table_;
  TcpRelay tcp_;
  UdpRelay udp_;
  uint64_t generation_ = 0;
};

}  // namespace caisson::relay
