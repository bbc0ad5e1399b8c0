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
#include "network/network_manager.h"

namespace caisson::network {

// A published port, parsed: numbers instead of texts.
struct PublishedPort {
  uint8_t protocol = 0;  // IPPROTO_TCP or IPPROTO_UDP
  uint32_t host_address = 0;
  uint16_t host_port = 0;
  uint32_t container_address = 0;
  uint16_t container_port = 0;

  bool operator==(const PublishedPort&) const = default;
  std::string host() const;  // "0.0.0.0:8080"
};

// kInvalid for what cannot be published. host_port 0 is left as it is.
Result<PublishedPort> parse_mapping(const PortMapping& mapping, uint32_t container_address);

class PortTable {
 public:
  PortTable();
  ~PortTable();

  // Takes every port, all or none; a host_port of 0 is replaced by a free one from the kernel's local
  // port range, in order. kConflict with Docker's texts: taken by an endpoint, or by a host process.
  Result<> take(std::vector<PublishedPort>& ports);
  // The same for ports that were published before; one that a host process has taken meanwhile is
  // kept without a guard (the DNAT rule has precedence), which is logged.
  Result<> take_back(const std::vector<PublishedPort>& ports);
  void release(const std::vector<PublishedPort>& ports);
  size_t size() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A socket bound to the port that does not listen: connections that miss the DNAT rule are refused, and
// nobody else can bind. EADDRINUSE when a host process has the port.
Result<UniqueFd> open_guard(uint8_t protocol, uint32_t address, uint16_t port);

}  // namespace caisson::network
