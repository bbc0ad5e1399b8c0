// SPDX-License-Identifier: Apache-2.0
// Which networks a container is on, and putting it there: at its start, and while it runs. The caller holds the
// container's operation.
#pragma once

#include <string>
#include <vector>

#include "engine/host_files.h"
#include "engine/record.h"
#include "engine/services.h"

namespace caisson::engine {

// Has the container a network namespace with networks of its own? Not with host, none, container: and ns:.
bool has_networks(const spec::HostConfig& host_config);
// NetworkMode "ns:/run/netns/x": the path. Empty for all others.
std::string joined_namespace(const spec::HostConfig& host_config);
bool on_user_network(const ContainerRecord& record);

// At the creation: names instead of ids, an entry for NetworkMode, settings checked against the networks.
// kInvalid, also for networks there are not.
Result<> resolve_networks(ContainerRecord& record, NetworkStore& networks);

// The networks of record.networking in the order in which they become eth0, eth1...
std::vector<std::string> network_order(const ContainerRecord& record);

// At the start: a namespace with all of them. Fills record.endpoints and the names' facts. What was done is
// undone by network.detach() and names.detach().
Result<UniqueFd> attach_networks(const Services& services, ContainerRecord& record,
                                 const std::vector<network::PortMapping>& ports, HostFileFacts& names);

// With the running container. record is changed, not saved.
Result<> connect_network(const Services& services, ContainerRecord& record, const NetworkRecord& network,
                         spec::EndpointSettings settings);
Result<> disconnect_network(const Services& services, ContainerRecord& record, const NetworkRecord& network);

// Publishes and unpublishes, of one that runs and one that does not. record is changed, not saved.
Result<> change_ports(const Services& services, ContainerRecord& record, const spec::PortChange& change);

// Names by which others on the same network find the container: its own, aliases, short id, host name.
std::vector<std::string> dns_names(const ContainerRecord& record, const spec::EndpointSettings& settings);

// The embedded name server's part. At the end of a run, and after an engine restart.
void renew_own_names(const Services& services, const ContainerRecord& record);  // after a rename
void forget_names(const Services& services, const ContainerRecord& record);
Result<> restore_names(const Services& services, const ContainerRecord& record);

}  // namespace caisson::engine
