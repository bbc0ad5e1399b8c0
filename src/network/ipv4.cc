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

sys::MacAddress mac_of(uint32_t address) {
  return {0x02,
          0x42,
          static_cast<uint8_t>(address >> 24),
          static_cast<uint8_t>(address >> 16),
          static_cast<uint8_t>(address >> 8),
          static_cast<uint8_t>(address)};
}

std::string Subnet::text() const { return format_ipv4(network()) + format("/%d", prefix); }

Result<Subnet> parse_gateway(std::string_view text) {
  auto invalid = [&] {
    return fail(ErrorKind::kInvalid, "bridge address %s is not an IPv4 address and prefix", quoted(text).c_str());
  };
  auto parts = split_once(text, '/');
  if (!parts) return invalid();
  auto address = parse_ipv4(parts->first);
  auto prefix = parse_uint(parts->second);
  if (!address || !prefix) return invalid();
  if (*prefix < 8 || *prefix > 30)
    return fail(ErrorKind::kInvalid, "bridge address %s: prefix must be between 8 and 30", quoted(text).c_str());
  Subnet subnet{*address, static_cast<int>(*prefix)};
  if (subnet.address == subnet.network() || subnet.address == subnet.broadcast())
    return fail(ErrorKind::kInvalid, "bridge address %s is not the address of a host", quoted(text).c_str());
  return subnet;
}

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

std::vector<SubnetBlock> default_blocks() {
  std::vector<SubnetBlock> blocks;
  for (uint32_t second = 17; second <= 31; ++second) blocks.push_back({{172u << 24 | second << 16, 16}, 16});
  blocks.push_back({{192u << 24 | 168u << 16, 16}, 20});
  return blocks;
}

Result<Subnet> choose_subnet(const std::vector<Subnet>& used, const std::vector<SubnetBlock>& blocks) {
  for (const auto& block : blocks) {
    uint64_t step = uint64_t{1} << (32 - block.size), end = uint64_t{block.base.broadcast()} + 1;
    for (uint64_t at = block.base.network(); at + step <= end; at += step) {
      Subnet candidate{static_cast<uint32_t>(at) | 1, block.size};
      if (std::none_of(used.begin(), used.end(), [&](const Subnet& taken) { return taken.overlaps(candidate); }))
        return candidate;
    }
  }
  return fail(ErrorKind::kExhausted,
              "could not find an available, non-overlapping IPv4 address pool among the defaults "
              "to assign to the network");
}

}  // namespace caisson::network
