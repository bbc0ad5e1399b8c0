// SPDX-License-Identifier: Apache-2.0
// Which ports a start publishes, and by which of a container's networks.
#pragma once

#include <string>
#include <vector>

#include "engine/networks.h"
#include "engine/registry.h"
#include "network/network_manager.h"

namespace caisson::engine {

// Published ports of a container, ranges whole. A range of host ports for one container port becomes its first one
// that no container of ours has. kInvalid.
Result<std::vector<network::PortMapping>> plan_ports(const ContainerRecord& record,
                                                     const ContainerRegistry& containers);

// Which published ports IPv6 clients do not reach as none of the container's networks has IPv6, a sentence each.
std::vector<std::string> unreached_by_ipv6(const ContainerRecord& record, NetworkStore& networks);

// Pure. Where two endpoints have the gateways, the ports of each. `host_ip`: the address of ports that name none;
// empty: every one.
struct PortShares {
  std::vector<network::PortMapping> v4, v6;
};
PortShares share_ports(const std::vector<network::PortMapping>& ports, const std::string& host_ip);

// Pure. What `published` ports of a container were asked for as: an address that only stands for "every one" is empty
// again, and the two families are one. Host ports stay those that were chosen.
std::vector<network::PortMapping> asked_form(const ContainerRecord& record,
                                             const std::vector<network::PortMapping>& published);

}  // namespace caisson::engine
