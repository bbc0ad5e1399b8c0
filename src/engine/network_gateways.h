// SPDX-License-Identifier: Apache-2.0
// Which of a container's networks has the default route and the published ports, for IPv4 and for IPv6; and their
// move when networks come and go.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/record.h"
#include "engine/services.h"

namespace caisson::engine {

struct GatewayCandidate {
  std::string network;
  bool v4 = false, v6 = false;  // a way out
  int64_t priority = 0;
};
struct GatewayChoice {
  std::optional<size_t> v4, v6;  // indices
};
// Pure. For each family the highest priority, then those that have both families, then the name.
GatewayChoice choose_gateways(const std::vector<GatewayCandidate>& candidates);

// Has the network published ports? Those of plugins have their own, those on a link of the host none: the containers'
// own addresses are reached by everybody.
bool publishes(const StoredEndpoint& endpoint);

int64_t gateway_priority(const ContainerRecord& record, const std::string& network);

// Default routes and published ports of a running container go where they belong now; `orphaned`: ports of an
// endpoint that is gone. record is changed, not saved; as before on failure.
Result<> move_gateways(const Services& services, ContainerRecord& record, network::Sandbox& sandbox,
                       const std::vector<network::PortMapping>& orphaned);

// The ports of the endpoint with the IPv6 gateway, where another one has the IPv4 gateway: with the same numbers.
Result<> publish_second(const Services& services, ContainerRecord& record, size_t first, size_t second,
                        std::vector<network::PortMapping> ports);

}  // namespace caisson::engine
