// SPDX-License-Identifier: Apache-2.0
// What the engine and caisson-dns say to each other over a SEQPACKET socket: one request, one answer, each a JSON
// document, descriptors beside it. Both are of the same release but for the moment of an upgrade: then the
// version in the answer to "hello" differs, and the engine starts a new program.
//
//   hello    first of all: answers `version`; what follows is repeated state until "sync"
//   attach   scope, networks, upstreams, forward, ndots; descriptors: udp, tcp, then up to 8 for queries
//   resume   as attach, without descriptors: answers with them if the scope is served still, else not_found
//   scope    as resume, for a scope that this engine attached
//   detach   scope
//   add      network, network_name, endpoint, name, aliases, addresses
//   remove   network, endpoint
//   upstreams   upstreams: the default ones
//   sync     forgets what was not repeated since "hello"
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "wire/json.h"

namespace caisson::dns {

inline constexpr int kControlVersion = 1;
inline constexpr int kControlFd = 3;  // the engine's connection in a program it has just started
inline constexpr size_t kMaxControlMessage = 128 << 10;

inline constexpr size_t kMaxScopes = 16384;
inline constexpr size_t kMaxEndpoints = 65536;  // in all networks
inline constexpr size_t kMaxScopeNetworks = 128;
inline constexpr size_t kMaxLinks = 256;  // of a scope, in one network
inline constexpr size_t kMaxAliases = 256;
inline constexpr size_t kMaxAddresses = 16;  // of an endpoint
inline constexpr size_t kMaxUpstreams = 8;
inline constexpr size_t kMaxQueryDescriptors = 8;
inline constexpr size_t kMaxIdText = 256;

struct ControlUpstream {
  std::string address;
  uint16_t port = 53;
  bool from_host = false;
  bool operator==(const ControlUpstream&) const = default;
};
CAISSON_JSON(ControlUpstream, CAISSON_FIELD("address", address), CAISSON_FIELD("port", port),
             CAISSON_FIELD_OMIT("from_host", from_host))

struct ControlNetwork {
  std::string id;
  std::map<std::string, std::string> links;
};
CAISSON_JSON(ControlNetwork, CAISSON_FIELD("id", id), CAISSON_FIELD_OMIT("links", links))

struct ControlRequest {
  std::string type;
  std::string scope;
  std::vector<ControlNetwork> networks;
  std::optional<std::vector<ControlUpstream>> upstreams;
  bool forward = false, ndots = false;
  std::string network, network_name, endpoint, name;
  std::vector<std::string> aliases, addresses;
};
CAISSON_JSON(ControlRequest, CAISSON_FIELD("type", type), CAISSON_FIELD_OMIT("scope", scope),
             CAISSON_FIELD_OMIT("networks", networks), CAISSON_FIELD_OMIT("upstreams", upstreams),
             CAISSON_FIELD_OMIT("forward", forward), CAISSON_FIELD_OMIT("ndots", ndots),
             CAISSON_FIELD_OMIT("network", network), CAISSON_FIELD_OMIT("network_name", network_name),
             CAISSON_FIELD_OMIT("endpoint", endpoint), CAISSON_FIELD_OMIT("name", name),
             CAISSON_FIELD_OMIT("aliases", aliases), CAISSON_FIELD_OMIT("addresses", addresses))

struct ControlAnswer {
  bool ok = false;
  std::string error;  // a sentence
  bool not_found = false;
  int version = 0;
};
CAISSON_JSON(ControlAnswer, CAISSON_FIELD("ok", ok), CAISSON_FIELD_OMIT("error", error),
             CAISSON_FIELD_OMIT("not_found", not_found), CAISSON_FIELD_OMIT("version", version))

}  // namespace caisson::dns
