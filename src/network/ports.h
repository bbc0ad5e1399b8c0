// SPDX-License-Identifier: Apache-2.0
// Which host port belongs to which endpoint, and the guard sockets that keep host processes off them.
// Thread-safe. Knows nothing of nftables.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "network/published_port.h"

namespace caisson::network {

class PortTable {
 public:
  PortTable();
  ~PortTable();

  // Takes every port, all or none; a host_port of 0 is replaced by a free one from the kernel's local
  // port range, in order. Routed ones are passed over. kConflict with Docker's texts: taken by an endpoint, whose
  // owner is left in `holder`, or by a host process, which is named where it can be found. Ranges of more than 64 ports
  // have no guards: a host process that binds one of them later is not hindered, and not reached.
  Result<> take(std::vector<PublishedPort>& ports, const std::string& owner = "", std::string* holder = nullptr);
  // The same for ports that were published before; one that a host process has taken meanwhile is
  // kept without a guard (the DNAT rule has precedence), which is logged.
  Result<> take_back(const std::vector<PublishedPort>& ports, const std::string& owner = "");
  void release(const std::vector<PublishedPort>& ports);
  size_t size() const;
  // Copies of its guards, one a port in order; none for what has none.
  std::vector<UniqueFd> guards_of(const PublishedPort& port) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A socket bound to the port that does not listen: connections that miss the DNAT rule are refused, and
// nobody else can bind. EADDRINUSE when a host process has the port; kUnsupported without that protocol.
Result<UniqueFd> open_guard(uint8_t protocol, const IpAddress& address, uint16_t port);

}  // namespace caisson::network
