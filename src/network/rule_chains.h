// SPDX-License-Identifier: Apache-2.0
// The fixed part of the engine's tables, and what they have of a bridge; how keys of their maps are laid out.
#pragma once

#include <string>
#include <string_view>

#include "network/rules.h"
#include "sys/nft.h"

namespace caisson::network {

inline constexpr std::string_view kAtMap = "published_at", kAnyMap = "published", kRanges = "ranges",
                                  kRelayed = "relayed", kDirect = "direct", kGate = "gate";

inline sys::NftFamily family_of(bool v6) { return v6 ? sys::NftFamily::kIpv6 : sys::NftFamily::kIpv4; }

// Port and protocol fill a 4-byte register each, from its first byte.
inline std::string port_bytes(uint16_t port) {
  return {static_cast<char>(port >> 8), static_cast<char>(port & 255), '\0', '\0'};
}
inline std::string protocol_bytes(uint8_t protocol) { return {static_cast<char>(protocol), '\0', '\0', '\0'}; }
inline std::string key_bytes(uint8_t protocol, const IpAddress& address, uint16_t port) {
  return protocol_bytes(protocol) + address.bytes() + port_bytes(port);
}

// Into a batch of that family. `anew`: there are no chains and sets yet; else they are emptied first, but for maps of
// published ports and the administrator's chain. `gate`: see Rules::set_gate().
void add_chains(sys::NftBatch& batch, bool v6, bool anew, const std::optional<GateRule>& gate, bool direct_routing);
// Adds or deletes what the table of one family has of a bridge.
void change_bridge(sys::NftBatch& batch, bool v6, const BridgeRules& rules, bool add);

}  // namespace caisson::network
