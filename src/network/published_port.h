// SPDX-License-Identifier: Apache-2.0
// A published port or range of them, parsed: numbers instead of texts. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip_address.h"
#include "base/result.h"
#include "network/network_manager.h"

namespace caisson::network {

struct PublishedPort {
  uint8_t protocol = 0;  // IPPROTO_TCP, IPPROTO_UDP or IPPROTO_SCTP
  IpAddress host_address;
  uint16_t host_port = 0;
  IpAddress container_address;
  uint16_t container_port = 0;
  uint16_t count = 1;           // of consecutive ports
  bool same_as_before = false;  // gets the host port of the entry before this one, when it is chosen
  bool routed = false;          // no translation, nothing of the host is taken
  bool direct = false;          // reached at the container's own address too

  // Hosts of another family than the container's are carried by a program.
  bool relayed() const { return !routed && host_address.v6 != container_address.v6; }
  // Or its part on ::1, which no translation leads away from the host.
  bool has_relayed_part() const;
  uint16_t last_host_port() const { return static_cast<uint16_t>(host_port + count - 1); }
  std::string host() const;  // "0.0.0.0:8080"
  bool operator==(const PublishedPort&) const = default;
};

// What a mapping of an endpoint stands for.
struct PublishContext {
  std::optional<IpAddress> address4, address6;  // the endpoint's
  GatewayMode mode4 = GatewayMode::kNat, mode6 = GatewayMode::kNat;
  std::string host_ip;   // for mappings that name none; empty: all
  bool relay = false;    // IPv6 clients reach containers without IPv6; long ranges of UDP are left out
  bool trusted = false;  // somebody reaches published ports directly
};

// One entry or two: those that name no address stand for both families. kInvalid for what cannot be published; a
// host_port of 0 is left as it is.
Result<std::vector<PublishedPort>> parse_mapping(const PortMapping& mapping, const PublishContext& context);
PortMapping mapping_of(const PublishedPort& port);

const char* protocol_name(uint8_t protocol);

}  // namespace caisson::network
