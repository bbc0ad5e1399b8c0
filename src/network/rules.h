// SPDX-License-Identifier: Apache-2.0
// The engine's nftables tables, one of a family: the fixed chains, and map elements for published ports. Every
// change is one atomic batch. Thread-safe: no two calls use a socket at the same time.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ip_address.h"
#include "base/result.h"
#include "network/gate_client.h"
#include "network/published_port.h"
#include "sys/netlink.h"

namespace caisson::network {

// A bridge as the rules of one family see it.
struct SubnetRules {
  IpSubnet subnet;
  GatewayMode mode = GatewayMode::kNat;
  bool masquerade = true;           // towards anything but our bridges
  std::optional<IpAddress> source;  // what is put in the place of the containers' addresses, instead of the interface's
};

struct BridgeRules {
  std::string bridge;
  std::vector<SubnetRules> subnets;  // one of a family
  bool internal = false;             // nothing but the bridge's own neighbours
  std::vector<std::string> trusted;  // interfaces from where published ports are reached directly
};

class Rules {
 public:
  // Without `ipv6` there is no table of that family.
  Rules(std::string table, bool ipv6);
  ~Rules();

  // The port where the relay of this host listens: connections by IPv6 that no translation serves are led there.
  // 0: they are not.
  void set_relay_port(uint16_t port) { relay_port_ = port; }
  // What comes in for published ports passes the host's INPUT rules, then that program. Before install().
  void set_gate(const GateRule& gate) { gate_ = gate; }

  // Published ports are open at the containers' own addresses, to all. Before install().
  void set_direct_routing(bool on) { direct_routing_ = on; }

  Result<bool> exists() const;
  // Makes the tables or rewrites their rules, with these bridges and no others; published ports and what the
  // administrator wrote into chain admin stay. Safe to repeat at any time.
  Result<> install(const std::vector<BridgeRules>& bridges);
  // ENOENT when somebody removed a table.
  Result<> add_bridge(const BridgeRules& bridge) const;
  Result<> remove_bridge(const BridgeRules& bridge) const;
  // `anew`: running UDP flows to the ports are cut off from where they went. ENOENT when somebody removed
  // a table.
  Result<> publish(const std::vector<PublishedPort>& ports, bool anew) const;
  void unpublish(const std::vector<PublishedPort>& ports) const;
  // Removes every element that is not one of `wanted`.
  Result<> retain(const std::vector<PublishedPort>& wanted) const;
  Result<> remove() const;  // absent is success

 private:
  struct Sockets;
  struct Element;
  Result<> with_socket(const std::function<Result<>(sys::NetlinkSocket&)>& use) const;
  std::vector<Element> elements_of(const std::vector<PublishedPort>& ports) const;
  std::vector<bool> families() const;  // v6 or not
  Result<> remove_each(sys::NetlinkSocket& socket, const std::vector<Element>& elements) const;

  std::string table_;
  std::atomic<bool> ipv6_;
  std::atomic<uint16_t> relay_port_ = 0;
  std::optional<GateRule> gate_;
  bool direct_routing_ = false;
  std::unique_ptr<Sockets> sockets_;
};

}  // namespace caisson::network
