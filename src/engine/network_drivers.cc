// SPDX-License-Identifier: Apache-2.0
#include "engine/network_drivers.h"

#include "base/ip_address.h"

namespace caisson::engine {

namespace {

std::vector<IpSubnet> subnets_of(const std::vector<NetworkRecordPtr>& networks, bool lans_alone) {
  std::vector<IpSubnet> out;
  for (const auto& network : networks) {
    if (network->config_only || (lans_alone && !network::is_lan_driver(network->driver))) continue;
    for (const auto& config : network->ipam.config)
      if (auto subnet = parse_ip_subnet(config.subnet)) out.push_back(*subnet);
  }
  return out;
}

network::LanSpec lan_spec(const NetworkRecord& record, const network::NetworkSpec& spec) {
  network::LanSpec lan;
  lan.id = record.id;
  lan.name = record.name;
  lan.driver = record.driver;
  lan.options = record.options;
  lan.internal = record.internal;
  lan.mtu = spec.mtu;
  for (const auto* plan : {&spec.v4, &spec.v6})
    if (plan->enabled) lan.pools.push_back({plan->subnet, plan->gateway, plan->range, plan->reserved});
  return lan;
}

}  // namespace

Result<> NetworkDrivers::add(const NetworkRecord& record, network::NetworkSpec& spec,
                             const std::vector<NetworkRecordPtr>& others, bool make) {
  // Bridges know of each other.
  if (!network::is_lan_driver(record.driver)) return bridges.add_network(spec, make, subnets_of(others, true));
  auto lan = lan_spec(record, spec);
  if (spec.v6.enabled && spec.v6.subnet.empty())
    return fail(ErrorKind::kInvalid, "an IPv6 subnet has to be given for networks of driver %s", record.driver.c_str());
  auto avoid = subnets_of(others, false);
  if (make) {
    auto own = bridges.bridge_info();  // the default network's record has no addresses
    for (const auto& text : {own.subnet, own.subnet6})
      if (auto subnet = parse_ip_subnet(text)) avoid.push_back(*subnet);
  }
  TRY(lans.add(lan, avoid, make));
  size_t next = 0;
  for (auto* plan : {&spec.v4, &spec.v6}) {
    if (!plan->enabled) continue;
    plan->subnet = lan.pools[next].subnet;
    plan->gateway = lan.pools[next].gateway;
    ++next;
  }
  return {};
}

Result<> NetworkDrivers::remove(const NetworkRecord& record) {
  if (network::is_lan_driver(record.driver)) return lans.remove(record.id);
  return bridges.remove_network(record.id);
}

}  // namespace caisson::engine
