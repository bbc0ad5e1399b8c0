// SPDX-License-Identifier: Apache-2.0
#include "network/published_port.h"

#include <netinet/in.h>

#include "base/text.h"
#include "network/relay_client.h"

namespace caisson::network {

namespace {

bool is_carried(const PublishedPort& port) {
  return port.protocol == IPPROTO_TCP || (port.protocol == IPPROTO_UDP && port.count <= kMaxRelayedUdpRange);
}

Result<uint8_t> protocol_of(const std::string& name) {
  if (name == "tcp" || name.empty()) return IPPROTO_TCP;
  if (name == "udp") return IPPROTO_UDP;
  if (name == "sctp") return IPPROTO_SCTP;
  return fail(ErrorKind::kInvalid, "publishing protocol %s is not supported", quoted(name).c_str());
}

}  // namespace

const char* protocol_name(uint8_t protocol) {
  return protocol == IPPROTO_UDP ? "udp" : protocol == IPPROTO_SCTP ? "sctp" : "tcp";
}

std::string PublishedPort::host() const {
  std::string address = host_address.v6 ? "[" + host_address.text() + "]" : host_address.text();
  return address + format(":%u", host_port);
}

bool PublishedPort::has_relayed_part() const {
  if (routed || !host_address.v6 || protocol == IPPROTO_SCTP) return false;
  if (protocol == IPPROTO_UDP && count > kMaxRelayedUdpRange) return false;
  return relayed() || host_address.is_any() || host_address == IpAddress{true, 1};
}

Result<std::vector<PublishedPort>> parse_mapping(const PortMapping& mapping, const PublishContext& context) {
  PublishedPort port;
  port.protocol = TRY(protocol_of(mapping.protocol));
  if (!mapping.container_port) return fail(ErrorKind::kInvalid, "a published container port cannot be 0");
  if (!mapping.count || mapping.container_port + mapping.count - 1 > 65535 ||
      mapping.host_port + mapping.count - 1 > 65535)
    return fail(ErrorKind::kInvalid, "a range of %u published ports from %u ends beyond 65535", mapping.count,
                mapping.container_port);
  if (mapping.count > 1 && !mapping.host_port)
    return fail(ErrorKind::kInvalid, "a range of published ports needs a host port");
  port.host_port = mapping.host_port;
  port.container_port = mapping.container_port;
  port.count = mapping.count;
  port.direct = context.trusted;

  const std::string& named = mapping.host_ip.empty() ? context.host_ip : mapping.host_ip;
  std::vector<IpAddress> hosts;
  if (named.empty()) {
    hosts = {any_ip(false), any_ip(true)};
  } else {
    auto address = parse_ip(named);
    if (!address) return fail(ErrorKind::kInvalid, "host address %s is not an IP address", quoted(named).c_str());
    hosts = {*address};
  }
  std::vector<PublishedPort> ports;
  for (const auto& host : hosts) {
    const auto& own = host.v6 ? context.address6 : context.address4;
    port.host_address = host;
    port.routed = own && (host.v6 ? context.mode6 : context.mode4) == GatewayMode::kRouted;
    if (own) {
      port.container_address = *own;
    } else if (host.v6 && context.relay && is_carried(port) && context.address4 &&
               context.mode4 != GatewayMode::kRouted) {
      port.container_address = *context.address4;
    } else if (named.empty()) {
      continue;
    } else if (host.v6 && context.relay && context.address4 && port.protocol == IPPROTO_UDP) {
      return fail(ErrorKind::kInvalid,
                  "cannot publish %u UDP ports on %s: the container has no IPv6 address, and its IPv4 address is only "
                  "reached by ranges of at most %u ports",
                  port.count, named.c_str(), kMaxRelayedUdpRange);
    } else {
      return fail(ErrorKind::kInvalid, "cannot publish on %s: the container has no %s address", named.c_str(),
                  host.v6 ? "IPv6" : "IPv4");
    }
    port.same_as_before = !ports.empty() && !port.routed && !ports.back().routed;
    ports.push_back(port);
  }
  if (ports.empty()) return fail(ErrorKind::kInvalid, "cannot publish ports: the container has no address");
  return ports;
}

PortMapping mapping_of(const PublishedPort& port) {
  return {protocol_name(port.protocol), port.container_port, port.host_address.text(), port.host_port, port.count};
}

}  // namespace caisson::network
