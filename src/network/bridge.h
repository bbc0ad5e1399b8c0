// SPDX-License-Identifier: Apache-2.0
// The bridge device: its subnets, creation, adoption of one that is there, sysctls. Blocking; acts in the
// calling thread's network namespace. No state of its own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/ip_address.h"
#include "base/result.h"
#include "network/subnet_plan.h"
#include "sys/rtnetlink.h"

namespace caisson::network {

struct BridgeSpec {
  std::string name;
  int mtu = 1500;
  std::string owner;  // kept as the link's alias; only such a bridge is ever deleted or re-addressed
  sys::MacAddress mac{};
  std::vector<IpSubnet> addresses;
  bool foreign_ipv4 = false;  // IPv4 addresses are the administrator's
  bool forward = true;        // forwarding of the host is turned on, for the families of `addresses`
};

// The subnet the bridge has or would get, without making it: `wanted`, else the address of an existing
// bridge, else `hint`, else a free one of `blocks`.
Result<IpSubnet> plan_bridge_subnet(const std::string& name, bool v6, const std::optional<IpSubnet>& wanted,
                                    const std::vector<SubnetBlock>& blocks, const std::optional<IpSubnet>& hint = {});

// Makes or adopts the bridge, up, with its addresses. Its link index.
Result<int> ensure_bridge(const BridgeSpec& spec);

// Lets packets with a 127.0.0.0/8 address cross the bridge. Only with the guard rules in place.
Result<> allow_loopback_publishing(const std::string& bridge);

// Deletes the bridge if it is `spec.owner`'s; absent or foreign is success.
Result<> remove_bridge(const BridgeSpec& spec);

}  // namespace caisson::network
