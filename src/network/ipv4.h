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

// "172.18.0.0/16", host bits allowed and kept; the prefix 0 to 32.
Result<Subnet> parse_subnet(std::string_view text);

}  // namespace caisson::network
