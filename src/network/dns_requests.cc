// SPDX-License-Identifier: Apache-2.0
#include "network/dns_requests.h"

#include "base/text.h"
#include "wire/dns_message.h"

namespace caisson::network {
namespace {

constexpr size_t kMaxServers = 3;  // as many as the C library reads

std::vector<dns::ControlUpstream> converted(const std::vector<DnsUpstream>& upstreams) {
  std::vector<dns::ControlUpstream> out;
  for (const auto& upstream : upstreams) out.push_back({upstream.address, upstream.port, upstream.from_host});
  return out;
}

bool is_loopback(const dns::Address& address) {
  if (address.size == 4) return address.bytes[0] == 127;
  dns::Address loopback{.size = 16};
  loopback.bytes[15] = 1;
  return address == loopback;
}

}  // namespace

DnsRequest request_of(const char* type, const DnsScope& scope, const DnsSockets* sockets) {
  DnsRequest request;
  request.body.type = type;
  request.body.scope = scope.id;
  for (const auto& network : scope.networks) request.body.networks.push_back({network.id, network.links});
  if (scope.upstreams) request.body.upstreams = converted(*scope.upstreams);
  request.body.forward = scope.forward;
  request.body.ndots = scope.ndots_set;
  if (!sockets) return request;
  request.fds = {sockets->udp.get(), sockets->tcp.get()};
  for (const auto& fd : sockets->query) request.fds.push_back(fd.get());
  return request;
}

DnsRequest request_of(const DnsEndpoint& endpoint) {
  DnsRequest request;
  request.body.type = "add";
  request.body.network = endpoint.network_id;
  request.body.network_name = endpoint.network_name;
  request.body.endpoint = endpoint.id;
  request.body.name = endpoint.name;
  request.body.aliases = endpoint.aliases;
  request.body.addresses = endpoint.addresses;
  return request;
}

DnsRequest request_of_upstreams(const std::vector<DnsUpstream>& upstreams) {
  return {.body = {.type = "upstreams", .upstreams = converted(upstreams)}, .fds = {}};
}

std::vector<DnsUpstream> upstreams_of(std::string_view resolv_conf) {
  std::vector<DnsUpstream> out;
  for (const auto& line : split(resolv_conf, '\n')) {
    constexpr std::string_view kWord = "nameserver";
    if (!line.starts_with(kWord)) continue;
    std::string_view rest = std::string_view(line).substr(kWord.size());
    if (rest.empty() || (rest[0] != ' ' && rest[0] != '\t')) continue;
    rest = trim(rest);
    rest = rest.substr(0, rest.find_first_of(" \t#;"));
    auto address = dns::parse_address(rest);
    if (!address) continue;  // link-local with a zone among them
    out.push_back({.address = std::string(rest), .from_host = is_loopback(*address)});
    if (out.size() == kMaxServers) break;
  }
  return out;
}

}  // namespace caisson::network
