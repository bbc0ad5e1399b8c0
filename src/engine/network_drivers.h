// SPDX-License-Identifier: Apache-2.0
// Which part of the engine carries out networks of a driver: bridges are the network manager's, macvlan and ipvlan are
// LanNetworks'.
#pragma once

#include <vector>

#include "engine/networks.h"
#include "network/lan_networks.h"
#include "network/network_manager.h"

namespace caisson::engine {

struct NetworkDrivers {
  network::NetworkManager& bridges;
  network::LanNetworks& lans;

  // `others`: whose subnets are taken. What was chosen is filled into `spec`.
  Result<> add(const NetworkRecord& record, network::NetworkSpec& spec, const std::vector<NetworkRecordPtr>& others,
               bool make);
  Result<> remove(const NetworkRecord& record);
};

}  // namespace caisson::engine
