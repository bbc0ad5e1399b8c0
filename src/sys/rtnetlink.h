// SPDX-License-Identifier: Apache-2.0
// Links, addresses and routes over NETLINK_ROUTE, one kernel operation per function. Blocking (the kernel's rtnl lock);
// one thread at a time per socket.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip_address.h"
#include "base/result.h"
#include "sys/netlink.h"

namespace caisson::sys {

using MacAddress = std::array<uint8_t, 6>;

struct LinkInfo {
  int index = 0;
  std::string name;
  std::string kind;  // "bridge", "veth"; empty for hardware
  std::string alias;
  int master = 0;      // 0: none
  bool up = false;     // administratively
  bool ready = false;  // operstate UP: carries traffic
  int mtu = 0;
};

struct LinkAddress {
  int index = 0;
  IpSubnet address;
};

struct RouteInfo {
  IpSubnet destination;
};

struct VethRequest {
  std::string name;       // host end
  int master = 0;         // bridge it joins
  bool hairpin = false;   // frames may leave by the port they came from
  bool isolated = false;  // no frames to or from other isolated ports of the bridge
  int mtu = 1500;
  std::string peer_name;  // inside `peer_netns`
  MacAddress peer_mac{};
  int peer_netns = -1;
};

struct InterfaceSetup {
  std::string name;
  std::vector<IpSubnet> addresses;
  std::vector<IpAddress> gateways;  // of default routes, one of a family
};

struct LanSetup;

class RouteSocket {
 public:
  // Acts in the caller's current network namespace. `link_events` subscribes to link changes.
  static Result<RouteSocket> open(bool link_events = false);

  Result<> create_bridge(const std::string& name, const MacAddress& mac, int mtu, const std::string& alias);
  // Both ends in one message, the peer born in its namespace; the host end is up and on the bridge.
  Result<> create_veth(const VethRequest& request);
  Result<> set_up(const std::string& name);
  Result<> set_master(const std::string& name, int master);
  Result<> delete_link(const std::string& name);  // absent is success
  // nullopt when there is no such link.
  Result<std::optional<LinkInfo>> find_link(const std::string& name);
  Result<std::vector<LinkInfo>> list_links();

  // IPv6 addresses are used at once, without a check that no neighbour has them (RFC 4862, 5.4).
  Result<> add_address(int index, const IpSubnet& address);  // there already is success
  Result<> remove_address(int index, const IpSubnet& address);
  Result<std::vector<LinkAddress>> list_addresses();
  Result<std::vector<RouteInfo>> list_routes();  // without default routes, of all tables

  // Up, addresses and default routes of one interface in a single datagram.
  Result<> configure(const InterfaceSetup& setup);
  // Addresses, default routes, also those without a gateway, and up (rtnetlink_lan.h); the interface's MAC address.
  Result<MacAddress> set_up_on_lan(const LanSetup& setup);
  // The default route of that family goes by `gateway`, replacing the one there is; the unspecified address: there
  // is none afterwards.
  Result<> set_default_route(const IpAddress& gateway);
  // Frames may leave by the bridge port they came from.
  Result<> set_hairpin(const std::string& port);
  // No frames to or from other isolated ports of the bridge.
  Result<> set_isolated(const std::string& port);

  // What the interface sends is held to that many bits a second, with a queue of 100 ms. kUnsupported: the kernel has
  // nothing for it.
  Result<> limit_rate(const std::string& name, uint64_t bits);

  // Blocks until every link of `names` is operationally up. The socket must have been opened with
  // link_events before the change that brings them up. kTimeout names the link.
  Result<> wait_ready(const std::vector<std::string>& names, int timeout_ms);

 private:
  explicit RouteSocket(NetlinkSocket socket) : socket_(std::move(socket)) {}
  Result<int> index_of(const std::string& name);

  NetlinkSocket socket_;
};

// A RTM_NEWLINK or RTM_NEWADDR or RTM_NEWROUTE message; nullopt for others and for malformed ones.
std::optional<LinkInfo> parse_link(const NetlinkMessage& message);
std::optional<LinkAddress> parse_address(const NetlinkMessage& message);
std::optional<RouteInfo> parse_route(const NetlinkMessage& message);

// 1 to 15 bytes, no '/', no space, not "." or "..": what the kernel takes as an interface name.
bool is_interface_name(std::string_view name);

}  // namespace caisson::sys
