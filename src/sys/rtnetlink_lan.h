// SPDX-License-Identifier: Apache-2.0
// Links that live on another link: VLANs, macvlan and ipvlan; and dummies, for those that live on nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/netlink.h"
#include "sys/rtnetlink.h"

namespace caisson::sys {

enum class UpperKind : unsigned char { kDummy, kVlan, kMacvlan, kIpvlan };

struct UpperLink {
  UpperKind kind = UpperKind::kDummy;
  std::string name;
  int parent = 0;                 // index in the socket's namespace; none for dummies
  uint32_t mode = 0;              // MACVLAN_MODE_*, IPVLAN_MODE_*, or the VLAN's number
  uint16_t flags = 0;             // IPVLAN_F_*
  std::optional<MacAddress> mac;  // not of ipvlan, which has its parent's
  int mtu = 0;                    // 0: the parent's
  int netns = -1;                 // where it is born; -1: in the socket's namespace
};

// Of an interface inside a namespace; addresses and gateways are 4 or 16 bytes in network byte order.
struct LanSetup {
  std::string name;
  struct Address {
    std::string bytes;
    int prefix = 0;
  };
  std::vector<Address> addresses;
  struct DefaultRoute {
    bool v6 = false;
    std::string gateway;  // empty: by the interface alone
  };
  std::vector<DefaultRoute> default_routes;
};

class UpperLinkSocket {
 public:
  static Result<UpperLinkSocket> open();  // acts in the thread's current namespace

  // kUnsupported: the kernel has no links of that kind. kConflict: the parent is used in a way that excludes it.
  Result<> create(const UpperLink& link);
  // Whether the kernel knows the kind, its module loaded by that if there is one. Makes nothing.
  Result<bool> is_known(UpperKind kind);
  Result<> set_alias(const std::string& name, const std::string& alias);

 private:
  explicit UpperLinkSocket(NetlinkSocket socket) : socket_(std::move(socket)) {}
  NetlinkSocket socket_;
};

const char* kind_name(UpperKind kind);
void put_lan_setup(NetlinkBuilder& out, int index, const LanSetup& setup);

}  // namespace caisson::sys
