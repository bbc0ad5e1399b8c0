// SPDX-License-Identifier: Apache-2.0
// What a request for a network means: its addresses, options and families, checked, and what the network manager is
// told of it. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/networks.h"

namespace caisson::engine {

// Families that a request names, or its options do. kInvalid: neither, or no truth value.
struct NetworkFamilies {
  bool v4 = true, v6 = false;
};
Result<NetworkFamilies> families_of(const spec::NetworkCreate& request, const spec::StringMap& options);

// The subnets of a request, with Docker's sentences: kInvalid names all that is wrong, kNotFound an unknown IPAM
// driver. What belongs to a family that the network has not is not looked at.
Result<> check_ipam(const spec::NetworkIpam& ipam, NetworkFamilies families);

// Addresses and options of a record as the manager wants them. kInvalid for a bad option; unknown ones are nobody's.
Result<network::NetworkSpec> network_spec_of(const NetworkRecord& record);

// What the manager chose, into the record: one entry for each family that it has, IPv4 first.
void note_addresses(NetworkRecord& record, const network::NetworkSpec& spec);

// Addresses and options that a container asks for on a network. kInvalid: addresses of another subnet, or none can be
// asked for.
Result<> check_endpoint_addresses(const NetworkRecord& network, const spec::EndpointSettings& settings);

// Options of one endpoint of a container. kInvalid: a value that is none. Unknown ones are nobody's.
struct EndpointOptions {
  std::string interface;             // empty: chosen
  std::vector<std::string> sysctls;  // as network::AttachRequest has them
  uint64_t limit_in = 0, limit_out = 0;
};
Result<EndpointOptions> endpoint_options_of(const spec::StringMap& options);

// "eth", or what com.docker.network.container_iface_prefix says.
std::string interface_prefix(const NetworkRecord& record);

}  // namespace caisson::engine
