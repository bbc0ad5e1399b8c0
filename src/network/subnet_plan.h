// SPDX-License-Identifier: Apache-2.0
// Which subnet and which addresses a network gets, of each family. Pure.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/ip_address.h"
#include "base/result.h"
#include "network/ipam.h"
#include "network/network_manager.h"

namespace caisson::network {

struct SubnetBlock {
  IpSubnet base;
  int size = 16;  // prefix of each subnet cut from it
};
// 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in /20; and a /48 of fd00::/8 in /64, which one it is goes by
// `seed` (RFC 4193).
std::vector<SubnetBlock> default_blocks(std::string_view seed = {});
// Blocks as configured, with the defaults for a family that has none. kInvalid.
Result<std::vector<SubnetBlock>> parse_blocks(const std::vector<AddressBlock>& blocks, std::string_view seed);

// "172.17.0.1/16"; the address must be a host's, the prefix 8 to 30, of IPv6 16 to 126. kInvalid.
Result<IpSubnet> parse_gateway(std::string_view text);

// The first subnet of `blocks` that overlaps none of `used`; the address returned is its first host.
// kExhausted when all are taken.
Result<IpSubnet> choose_subnet(bool v6, const std::vector<IpSubnet>& used, const std::vector<SubnetBlock>& blocks);

// The plan's own subnet, or a free one; subnet and gateway are filled in. The address returned is the gateway.
// kInvalid, kDenied when it overlaps one of `used`.
Result<IpSubnet> plan_subnet(AddressPlan& plan, bool v6, const std::vector<IpSubnet>& used,
                             const std::vector<SubnetBlock>& blocks);

// With the plan's range, without its reserved addresses; kInvalid.
Result<std::unique_ptr<Ipam>> make_ipam(const AddressPlan& plan, const IpSubnet& subnet);

}  // namespace caisson::network
