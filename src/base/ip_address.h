// SPDX-License-Identifier: Apache-2.0
// Addresses and subnets of IPv4 and IPv6 as numbers (host byte order), for arithmetic. Pure.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace caisson {

__extension__ using Uint128 = unsigned __int128;

struct IpAddress {
  bool v6 = false;
  Uint128 value = 0;  // IPv4 in the low 32 bits

  static IpAddress ipv4(uint32_t value) { return {false, value}; }
  int width() const { return v6 ? 128 : 32; }
  bool is_any() const { return value == 0; }
  std::string bytes() const;  // 4 or 16, network byte order
  std::string text() const;   // RFC 5952 for IPv6
  auto operator<=>(const IpAddress&) const = default;
};

// Dotted decimal without leading zeros, or IPv6 without zone and brackets; nothing before or after.
std::optional<IpAddress> parse_ip(std::string_view text);
// 4 or 16 bytes in network byte order.
std::optional<IpAddress> ip_of_bytes(std::string_view bytes);
inline IpAddress any_ip(bool v6) { return {v6, 0}; }

struct IpSubnet {
  IpAddress address;  // may have host bits set: "172.17.0.1/16"
  int prefix = 0;

  bool v6() const { return address.v6; }
  Uint128 host_mask() const;  // the bits below the prefix
  IpAddress network() const { return {address.v6, address.value & ~host_mask()}; }
  IpAddress last() const { return {address.v6, address.value | host_mask()}; }
  bool contains(const IpAddress& other) const;
  bool overlaps(const IpSubnet& other) const;
  std::string text() const;  // "172.17.0.0/16"
  bool operator==(const IpSubnet&) const = default;
};

// "172.18.0.0/16" or "fd00::/64", host bits allowed and kept; any prefix. kInvalid.
Result<IpSubnet> parse_ip_subnet(std::string_view text);

}  // namespace caisson
