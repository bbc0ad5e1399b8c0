// SPDX-License-Identifier: Apache-2.0
#include "gate/packet.h"

#include <netinet/in.h>

namespace caisson::gate {

namespace {
constexpr size_t kHeader4 = 20, kHeader6 = 40;  // RFC 791 without options, RFC 8200
constexpr uint8_t kDontFragment = 0x40;         // of byte 6, before the offset
constexpr size_t kPorts = 4;                    // both, first of all in every transport's header

bool is_carried(uint8_t protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

std::optional<Packet> packet4(std::string_view bytes) {
  auto byte = [&](size_t at) { return static_cast<uint8_t>(bytes[at]); };
  if (bytes.size() < kHeader4 + kPorts || byte(0) != 0x45) return std::nullopt;
  size_t length = static_cast<size_t>(byte(2) << 8 | byte(3));
  bool is_fragment = (byte(6) & ~kDontFragment) != 0 || byte(7) != 0;
  if (length < kHeader4 + kPorts || length > bytes.size() || is_fragment || !is_carried(byte(9))) return std::nullopt;
  auto to = ip_of_bytes(bytes.substr(16, 4));
  if (!to) return std::nullopt;
  Packet packet{std::string(bytes.substr(0, length)), *to};
  // The header's checksum is the kernel's work in any case.
  if (byte(9) != IPPROTO_TCP) packet.bytes[6] = 0;
  return packet;
}

std::optional<Packet> packet6(std::string_view bytes) {
  auto byte = [&](size_t at) { return static_cast<uint8_t>(bytes[at]); };
  if (bytes.size() < kHeader6 + kPorts) return std::nullopt;
  size_t length = kHeader6 + static_cast<size_t>(byte(4) << 8 | byte(5));
  if (length < kHeader6 + kPorts || length > bytes.size() || !is_carried(byte(6))) return std::nullopt;
  auto to = ip_of_bytes(bytes.substr(24, 16));
  if (!to) return std::nullopt;
  return Packet{std::string(bytes.substr(0, length)), *to};
}
}  // namespace

std::optional<Packet> packet_to_send(std::string_view bytes) {
  if (bytes.empty()) return std::nullopt;
  uint8_t version = static_cast<uint8_t>(bytes[0]) >> 4;
  if (version == 4) return packet4(bytes);
  if (version == 6) return packet6(bytes);
  return std::nullopt;
}

}  // namespace caisson::gate
