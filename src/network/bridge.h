// SPDX-License-Identifier: Apache-2.0
// The bridge device: its subnet, creation, adoption of one that is there, sysctls. Blocking; acts in the
// calling thread's network namespace. No state of its own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "network/ipv4.h"

namespace caisson::network {

struct BridgeSpec {
  std::string name;
  int mtu = 1500;
  std::string owner;  // kept as the link's alias; only such a bridge is ever deleted or re-addressed
};

// The subnet the bridge has or would get, without making it: `wanted`, else the address of an existing
// bridge, else `hint`, else a free one of `blocks`.
Result<Subnet> plan_bridge_subnet(const std::string& name, const std::optional<Subnet>& wanted,
                                  const std::vector<SubnetBlock>& blocks, const std::optional<Subnet>& hint = {});

// Makes or adopts the bridge, up, with `subnet`'s address; forwarding is turned on. Its link index.
Result<int> ensure_bridge(const BridgeSpec& spec, const Subnet& subnet);

// Lets packets with a 127.0.0.0/8 address cross the bridge. Only with the guard rules in place.
Result<> allow_loopback_publishing(const std::string& bridge);

// Deletes the bridge if it is `spec.owner`'s; absent or foreign is success.
Result<> remove_bridge(const BridgeSpec& spec);

}  // namespace caisson::network
