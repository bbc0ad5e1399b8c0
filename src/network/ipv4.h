// SPDX-License-Identifier: Apache-2.0
// IPv4 addresses and subnets as numbers (host byte order), MAC addresses, and the choice of a subnet
// that nothing else on the machine uses.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/rtnetlink.h"

namespace caisson::network {

// Dotted decimal only, no leading zeros, nothing before or after.
std::optional<uint32_t> parse_ipv4(std::string_view text);
std::string format_ipv4(uint32_t address);

std::optional<sys::MacAddress> parse_mac(std::string_view text);  // "02:42:ac:11:00:02"
std::string format_mac(const sys::MacAddress& mac);
// 02:42 and the address: stable per address, so that nobody's neighbour table goes stale.
sys::MacAddress mac_of(uint32_t address);

struct Subnet {
  uint32_t address = 0;  // may have host bits set: "172.17.0.1/16"
  int prefix = 0;

  uint32_t mask() const { return prefix == 0 ? 0 : ~uint32_t{0} << (32 - prefix); }
  uint32_t network() const { return address & mask(); }
  uint32_t broadcast() const { return address | ~mask(); }
  bool contains(uint32_t other) const { return (other & mask()) == network(); }
  bool overlaps(const Subnet& other) const {
    uint32_t shorter = prefix < other.prefix ? mask() : other.mask();
    return (address & shorter) == (other.address & shorter);
  }
  std::string text() const;  // "172.17.0.0/16"
};

// "172.17.0.1/16"; the address must be a host's, the prefix 8 to 30.
Result<Subnet> parse_gateway(std::string_view text);

// "172.18.0.0/16", host bits allowed and kept; the prefix 0 to 32.
Result<Subnet> parse_subnet(std::string_view text);

struct SubnetBlock {
  Subnet base;
  int size = 16;  // prefix of each subnet cut from it
};
// 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in /20.
std::vector<SubnetBlock> default_blocks();

// The first subnet of `blocks` that overlaps none of `used`; the address returned is its first host.
// kExhausted when all are taken.
Result<Subnet> choose_subnet(const std::vector<Subnet>& used,
                             const std::vector<SubnetBlock>& blocks = default_blocks());

}  // namespace caisson::network
