// SPDX-License-Identifier: Apache-2.0
// Host ports that a CNI plugin publishes: chosen where none was asked for, and held by sockets, so that nobody binds
// what the plugin's rules would take away. The rules themselves are the plugin's.
#pragma once

#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "network/network_manager.h"

namespace caisson::engine {

// One mapping for each port, host_port filled in; the sockets hold them. kConflict with Docker's text.
Result<std::vector<UniqueFd>> hold_cni_ports(std::vector<network::PortMapping>& ports);

// What the capability portMappings is told.
std::string cni_port_mappings(const std::vector<network::PortMapping>& ports);

}  // namespace caisson::engine
