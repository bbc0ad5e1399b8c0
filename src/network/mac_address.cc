// SPDX-License-Identifier: Apache-2.0
#include "network/mac_address.h"

#include "base/text.h"

namespace caisson::network {

std::optional<sys::MacAddress> parse_mac(std::string_view text) {
  auto parts = split(text, ':');
  sys::MacAddress mac{};
  if (parts.size() != mac.size()) return std::nullopt;
  for (size_t i = 0; i < mac.size(); ++i) {
    if (parts[i].size() != 2 || !is_hex(to_lower(parts[i]))) return std::nullopt;
    unsigned value = 0;
    for (char c : to_lower(parts[i])) value = value << 4 | static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
    mac[i] = static_cast<uint8_t>(value);
  }
  return mac;
}

std::string format_mac(const sys::MacAddress& mac) {
  return format("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

sys::MacAddress mac_of(const IpAddress& address) {
  auto low = static_cast<uint32_t>(address.value);
  return {0x02,
          0x42,
          static_cast<uint8_t>(low >> 24),
          static_cast<uint8_t>(low >> 16),
          static_cast<uint8_t>(low >> 8),
          static_cast<uint8_t>(low)};
}

}  // namespace caisson::network
