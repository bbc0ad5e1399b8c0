// SPDX-License-Identifier: Apache-2.0
// The networks of this engine as objects: the three that every engine has and those that users make. Kept in the
// state database, told to the network manager. Thread-safe. Blocking (disk, kernel).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "db/database.h"
#include "network/network_manager.h"
#include "spec/docker_network.h"

namespace caisson::engine {

class CniNetworks;
struct NetworkDrivers;

struct NetworkRecord {
  std::string id, name, driver = "bridge";  // driver: bridge, macvlan, ipvlan, host, null, cni
  int64_t created_ns = 0;
  bool internal = false, attachable = false, ingress = false, config_only = false;
  std::string config_from;
  spec::NetworkIpam ipam;
  bool enable_ipv4 = true, enable_ipv6 = false;
  bool own_subnet = false, own_subnet6 = false;  // given by the user: static addresses are possible
  spec::StringMap options, labels;

  bool predefined() const { return name == "bridge" || name == "host" || name == "none"; }
  // What the network manager calls it.
  std::string manager_id() const { return name == network::kDefaultNetwork ? network::kDefaultNetwork : id; }
};
using NetworkRecordPtr = std::shared_ptr<const NetworkRecord>;

struct NetworkDefaults {
  std::map<std::string, spec::StringMap> options;  // of new networks that do not name them, by driver
  bool ipv6 = false;                               // of the default network
};

class NetworkStore {
 public:
  // Networks found in the database are made known to `drivers`.
  // Those of `cni` are seen too, unless another has the name.
  static Result<std::unique_ptr<NetworkStore>> open(db::Database& database, NetworkDrivers& drivers, CniNetworks* cni,
                                                    NetworkDefaults defaults = {});
  virtual ~NetworkStore() = default;

  // On disk and in the kernel when it returns. kInvalid, kConflict for a name that is taken, kDenied for what
  // Docker forbids, kNotFound for a driver there is not.
  virtual Result<NetworkRecordPtr> create(spec::NetworkCreate request, std::string& warning) = 0;
  virtual Result<NetworkRecordPtr> find(std::string_view reference) = 0;  // name, id or unique start of an id
  virtual std::vector<NetworkRecordPtr> list() = 0;                       // in the order of their creation
  // kDenied for one that is predefined or in use.
  virtual Result<> remove(const NetworkRecord& record) = 0;
};

// A name of a predefined network that stays the same as long as the name does.
std::string network_id_of(const std::string& name);

}  // namespace caisson::engine
