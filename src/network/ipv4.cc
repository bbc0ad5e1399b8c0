// SPDX-License-Identifier: Apache-2.0
#include "network/ipv4.h"

#include <algorithm>

#include "base/text.h"

namespace caisson::network {

std::optional<uint32_t> parse_ipv4(std::string_view text) {
  auto parts = split(text, '.');
  if (parts.size() != 4) return std::nullopt;
  uint32_t address = 0;
  for (const auto& part : parts) {
    if (part.empty() || part.size() > 3 || (part.size() > 1 && part[0] == '0')) return std::nullopt;
    auto value = parse_uint(part);
    if (!value || *value > 255) return std::nullopt;
    address = address << 8 | static_cast<uint32_t>(*value);
  }
  return address;
}

std::string format_ipv4(uint32_t address) {
  return format("%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

std::string Subnet::text() const { return format_ipv4(network()) + format("/%d", prefix); }

Result<Subnet> parse_subnet(std::string_view text) {
  auto invalid = [&] {
    return fail(ErrorKind::kInvalid, "invalid CIDR address: %s", std::string(text.substr(0, 64)).c_str());
  };
  auto parts = split_once(text, '/');
  if (!parts) return invalid();
  auto address = parse_ipv4(parts->first);
  auto prefix = parse_uint(parts->second);
  if (!address || !prefix || *prefix > 32) return invalid();
  return Subnet{*address, static_cast<int>(*prefix)};
}

}  // namespace caisson::network
