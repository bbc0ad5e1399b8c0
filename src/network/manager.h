// SPDX-License-Identifier: Apache-2.0
// The one implementation of NetworkManager, for the files of this folder that share it: network_manager.cc
// (networks, bridges, rules), manager_endpoints.cc (containers on them) and manager_ports.cc (published ports).
// Two locks: setup_mutex_ serialises the making of bridges and table; mutex_ guards the tables in memory and is
// never held over a system call.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "network/bridge.h"
#include "network/firewalld_client.h"
#include "network/gate_client.h"
#include "network/ipam.h"
#include "network/link_watch.h"
#include "network/netns_pool.h"
#include "network/network_manager.h"
#include "network/ports.h"
#include "network/relay_client.h"
#include "network/rules.h"
#include "network/subnet_plan.h"

namespace caisson::network {

// Of both families, IPv4 first.
template <typename T>
using Each = std::array<T, 2>;
using Addresses = Each<std::optional<IpAddress>>;
using Subnets = Each<std::optional<IpSubnet>>;

inline const AddressPlan& plan_of(const NetworkSpec& spec, size_t family) { return family ? spec.v6 : spec.v4; }

// One network. `spec`, `subnets` once chosen, and `owned` do not change.
struct Network {
  NetworkSpec spec;
  Subnets wanted;  // of the default network, before the subnets are chosen

  // With setup_mutex_.
  Subnets subnets;  // their addresses are the gateways
  int bridge_index = 0;
  bool ready = false;
  bool loopback_allowed = false;

  // With mutex_.
  Each<std::unique_ptr<Ipam>> ipam;
  size_t endpoints = 0;

  bool enabled(size_t family) const { return plan_of(spec, family).enabled; }
  bool has_gateway(size_t family) const {
    return enabled(family) && plan_of(spec, family).mode != GatewayMode::kIsolated;
  }
};
using NetworkPtr = std::shared_ptr<Network>;

struct Record {
  NetworkPtr network;
  Addresses addresses;
  std::string interface;
  std::vector<PublishedPort> ports;
  bool busy = true;  // being attached, restored or detached
};

struct Key {
  std::string container_id, network_id;
  auto operator<=>(const Key&) const = default;
};

// kInvalid for an address of the other family; nullopt for an empty text.
Result<std::optional<IpAddress>> parse_wanted(const std::string& text, bool v6);

class Manager final : public NetworkManager {
 public:
  Manager(NetworkConfig config, Subnets wanted, std::vector<SubnetBlock> blocks, std::unique_ptr<RelayClient> relay,
          std::unique_ptr<GateClient> gate, std::unique_ptr<FirewalldClient> firewalld);

  Result<Sandbox> create_sandbox() override { return pool_.take(); }
  Result<Sandbox> open_sandbox(int netns) override { return pool_.enter(netns); }
  Result<> run_inside(int netns, const std::function<Result<>()>& body) override {
    return pool_.run_inside(netns, body);
  }
  Result<NameSockets> open_name_sockets(int netns, QueryFamilies families) override;
  void warm_up() override { pool_.warm_up(); }
  Result<> add_network(NetworkSpec& spec, bool make, const std::vector<IpSubnet>& avoid) override;
  Result<> remove_network(const std::string& id) override;
  Result<Endpoint> attach(Sandbox& sandbox, const AttachRequest& request) override;
  void detach(const std::string& container_id) override;
  Result<> disconnect(const std::string& container_id, const std::string& network_id) override;
  Result<> publish(Endpoint& endpoint, const std::vector<PortMapping>& ports) override;
  void unpublish(Endpoint& endpoint) override;
  void unpublish(Endpoint& endpoint, const std::vector<PortMapping>& ports) override;
  Result<> set_default_route(Sandbox& sandbox, const std::string& gateway) override;
  Result<> set_default_route6(Sandbox& sandbox, const std::string& gateway) override;
  Result<> restore(const Endpoint& endpoint) override;
  Result<> finish_restore() override;
  int rule_events() override;
  bool rules_are_lost() override;
  Result<> repair_rules() override;
  int link_events() override;
  bool bridges_are_lost() override;
  Result<> repair_bridges() override;
  BridgeInfo bridge_info() override;
  size_t endpoints_on(const std::string& network_id) override;
  Result<> remove_all() override;

 private:
  struct Ready {
    Subnets subnets;
    int bridge_index = 0;
  };
  struct Inside {
    Addresses addresses;
    sys::MacAddress mac{};
    std::vector<IpSubnet> link_local;
  };
  BridgeSpec bridge_of(const Network& network) const;
  BridgeRules rules_of(const Network& network) const;
  Result<NetworkPtr> find(const std::string& id);
  std::vector<NetworkPtr> all_networks();
  Result<> plan_default(Network& network, const Subnets& hints);
  Result<std::vector<IpSubnet>> taken_subnets(bool of_host);
  Result<> plan_subnets(NetworkSpec& spec, Network& network, const std::vector<IpSubnet>& avoid);
  Result<Ready> ensure_ready(const NetworkPtr& network, const Subnets& hints);
  Result<> ensure_rules();
  Result<> plug_again(const Network& network, int bridge, const std::string& interface, bool hairpin);
  void plug_all_again(const NetworkPtr& network);
  void set_bridge(const NetworkPtr& network, int index);
  Result<> install_rules();
  Result<Addresses> reserve(const Key& key, const NetworkPtr& network, const Addresses& wanted);
  void forget(const Key& key);
  Result<std::vector<PublishedPort>> parse_ports(const std::vector<PortMapping>& mappings, const Network& network,
                                                 const Addresses& addresses) const;
  Result<std::string> plug(Sandbox& space, const Network& network, const Ready& ready, const Inside& inside,
                           const AttachRequest& request, sys::RouteSocket& route);
  Result<> allow_ipv6(const Sandbox& space, const std::string& interface);
  Result<> publish_at(Network& network, const std::vector<PublishedPort>& ports, bool anew);
  void unpublish_at(const std::vector<PublishedPort>& ports);
  // kConflict says whose a port is.
  Result<> take_ports(const Key& key, std::vector<PublishedPort>& ports);
  Result<> relay_ports(const std::vector<PublishedPort>& ports);
  void set_ports(const Key& key, std::vector<PublishedPort> ports);
  std::vector<PublishedPort> all_ports();

  const NetworkConfig config_;
  const std::vector<SubnetBlock> blocks_;
  Rules rules_;
  NetnsPool pool_;
  PortTable ports_;
  const std::unique_ptr<RelayClient> relay_;          // may be null
  const std::unique_ptr<GateClient> gate_;            // null but for honor_firewall
  const std::unique_ptr<FirewalldClient> firewalld_;  // may be null
  std::optional<sys::NetlinkSocket> events_;          // of the loop's thread
  std::optional<LinkWatch> links_;                    // likewise

  std::mutex setup_mutex_;  // guards kernel work on bridges and table, and what Network says

  std::mutex mutex_;
  std::map<std::string, NetworkPtr> networks_;
  std::map<Key, Record> endpoints_;
  std::map<int, NetworkPtr> bridges_;  // by index of the link
  std::set<int> lost_bridges_;         // to be looked at
};

}  // namespace caisson::network
