// SPDX-License-Identifier: Apache-2.0
#include "base/ip_address.h"

#include <arpa/inet.h>

#include "base/text.h"

namespace caisson {

std::string IpAddress::bytes() const {
  std::string out(v6 ? 16 : 4, '\0');
  Uint128 rest = value;
  for (size_t i = out.size(); i-- > 0; rest >>= 8) out[i] = static_cast<char>(rest & 255);
  return out;
}

std::string IpAddress::text() const {
  char buffer[INET6_ADDRSTRLEN];
  std::string raw = bytes();
  return inet_ntop(v6 ? AF_INET6 : AF_INET, raw.data(), buffer, sizeof buffer) ? buffer : "";
}

std::optional<IpAddress> ip_of_bytes(std::string_view bytes) {
  if (bytes.size() != 4 && bytes.size() != 16) return std::nullopt;
  IpAddress address{bytes.size() == 16, 0};
  for (char c : bytes) address.value = address.value << 8 | static_cast<uint8_t>(c);
  return address;
}

std::optional<IpAddress> parse_ip(std::string_view text) {
  if (text.size() >= INET6_ADDRSTRLEN || text.find('\0') != std::string_view::npos) return std::nullopt;
  bool v6 = text.find(':') != std::string_view::npos;
  char raw[16];
  // inet_pton of glibc takes neither leading zeros nor short forms of IPv4.
  if (inet_pton(v6 ? AF_INET6 : AF_INET, std::string(text).c_str(), raw) != 1) return std::nullopt;
  return ip_of_bytes({raw, v6 ? size_t{16} : size_t{4}});
}

Uint128 IpSubnet::host_mask() const {
  int bits = address.width() - prefix;
  return bits >= 128 ? ~Uint128{0} : (Uint128{1} << bits) - 1;
}

bool IpSubnet::contains(const IpAddress& other) const {
  return other.v6 == address.v6 && (other.value & ~host_mask()) == network().value;
}

bool IpSubnet::overlaps(const IpSubnet& other) const {
  return prefix < other.prefix ? contains(other.address) : other.contains(address);
}

std::string IpSubnet::text() const { return network().text() + format("/%d", prefix); }

Result<IpSubnet> parse_ip_subnet(std::string_view text) {
  auto invalid = [&] {
    return fail(ErrorKind::kInvalid, "invalid CIDR address: %s", std::string(text.substr(0, 64)).c_str());
  };
  auto parts = split_once(text, '/');
  if (!parts) return invalid();
  auto address = parse_ip(parts->first);
  auto prefix = parse_uint(parts->second);
  if (!address || !prefix || *prefix > static_cast<uint64_t>(address->width())) return invalid();
  return IpSubnet{*address, static_cast<int>(*prefix)};
}

}  // namespace caisson
