// SPDX-License-Identifier: Apache-2.0
// The engine's nftables table: the fixed chains, and one map element per published port. Every change is
// one atomic batch. Thread-safe: no two calls use a socket at the same time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "network/ipv4.h"
#include "network/ports.h"
#include "sys/netlink.h"

namespace caisson::network {

// A bridge as the rules see it.
struct BridgeRules {
  std::string bridge;
  Subnet subnet;
  bool masquerade = true;  // towards anything but our bridges
  bool internal = false;   // nothing but the bridge's own neighbours
};

class Rules {
 public:
  explicit Rules(std::string table);
  ~Rules();

  Result<bool> exists() const;
  // Makes the table or rewrites its rules, with these bridges and no others; published ports and what the
  // administrator wrote into chain admin stay. Safe to repeat at any time.
  Result<> install(const std::vector<BridgeRules>& bridges) const;
  // ENOENT when somebody removed the table.
  Result<> add_bridge(const BridgeRules& bridge) const;
  Result<> remove_bridge(const BridgeRules& bridge) const;
  // `anew`: running UDP flows to the ports are cut off from where they went. ENOENT when somebody removed
  // the table.
  Result<> publish(const std::vector<PublishedPort>& ports, bool anew) const;
  void unpublish(const std::vector<PublishedPort>& ports) const;
  // Removes every element that is not one of `wanted`.
  Result<> retain(const std::vector<PublishedPort>& wanted) const;
  Result<> remove() const;  // absent is success

 private:
  struct Sockets;
  Result<> with_socket(const std::function<Result<>(sys::NetlinkSocket&)>& use) const;

  std::string table_;
  std::unique_ptr<Sockets> sockets_;
};

}  // namespace caisson::network
