// SPDX-License-Identifier: Apache-2.0
// Which subnet and which addresses a network of a user gets. Pure.
#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "network/ipam.h"
#include "network/ipv4.h"
#include "network/network_manager.h"

namespace caisson::network {

// A subnet of `blocks` that overlaps none of `used`, for a spec that names none; subnet and gateway are filled in.
Result<Subnet> choose_network_subnet(NetworkSpec& spec, const std::vector<Subnet>& used,
                                     const std::vector<SubnetBlock>& blocks);
// The spec's own; the gateway is filled in. kInvalid, kDenied when it overlaps one of `used`. Its address is the
// gateway.
Result<Subnet> check_network_subnet(NetworkSpec& spec, const std::vector<Subnet>& used);

// With the spec's range, without its reserved addresses; kInvalid.
Result<std::unique_ptr<Ipam>> make_ipam(const NetworkSpec& spec, const Subnet& subnet);

}  // namespace caisson::network
