// SPDX-License-Identifier: Apache-2.0
// Networks of drivers macvlan and ipvlan: who has which address on them, and putting containers there. Apart from the
// network manager, as nothing of them is a bridge or a rule of the host. Thread-safe; blocks for kernel work only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/ip_address.h"
#include "network/endpoint_settings.h"
#include "network/ipam.h"
#include "network/lan_link.h"
#include "network/network_manager.h"

namespace caisson::network {

struct LanSpec {
  std::string id, name, driver;  // driver: macvlan, ipvlan
  std::map<std::string, std::string> options;
  bool internal = false;
  int mtu = 0;  // 0: the parent's
  struct Pool {
    std::string subnet;   // empty: chosen, of IPv4
    std::string gateway;  // empty: the first host address; it is somebody else's
    std::string range;
    std::vector<std::string> reserved;
  };
  std::vector<Pool> pools;  // one of a family; none: one of IPv4 is chosen
};

class LanNetworks {
 public:
  // Parents that are made here are marked with `alias`. `manager` for its thread that works in namespaces.
  LanNetworks(NetworkManager& manager, std::string alias);
  ~LanNetworks();

  // Subnets and gateways are filled in; a subnet is none of `avoid`. kUnsupported: the kernel has no such links.
  // kInvalid, kDenied: the parent is another network's. `make`: a parent that has to be made is made now.
  Result<> add(LanSpec& spec, const std::vector<IpSubnet>& avoid, bool make);
  // kConflict while containers are attached. Unknown ids are fine.
  Result<> remove(const std::string& id);
  // Takes away parents that were made for networks; they come again with the next container.
  Result<> remove_parents();

  // Link, addresses, default route. Ports are not published: the container's own address is on the LAN.
  Result<Endpoint> attach(Sandbox& sandbox, const AttachRequest& request);
  Result<> disconnect(Sandbox& sandbox, const Endpoint& endpoint);
  void detach(const std::string& container_id);  // frees addresses; the link goes with its namespace
  Result<> restore(const Endpoint& endpoint);    // what a running container has

 private:
  struct Pool {
    IpSubnet subnet;  // its address is the gateway
    Ipam ipam;
  };
  struct Network {
    LanSpec spec;
    LanPlan plan;
    std::vector<Pool> pools;
    std::map<std::string, std::vector<IpAddress>> members;  // by container
  };
  static Result<Pool> make_pool(LanSpec::Pool& spec, bool routed, const std::vector<IpSubnet>& avoid);
  Result<std::shared_ptr<Network>> find(const std::string& id);
  Result<std::vector<IpAddress>> reserve(Network& network, const AttachRequest& request);
  void release(Network& network, const std::string& container_id);
  bool may_be_leftover(const Error& error, Network& network);

  Result<> prepare_inside(Sandbox& sandbox, const std::string& interface, bool v6,
                          const std::vector<Setting>& settings);

  NetworkManager& manager_;
  const std::string alias_;
  struct Locks;
  std::unique_ptr<Locks> locks_;  // `data` guards what follows, and what the networks have
  std::map<std::string, std::shared_ptr<Network>> networks_;
};

}  // namespace caisson::network
