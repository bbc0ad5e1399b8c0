// SPDX-License-Identifier: Apache-2.0
// Networks of containers: the bridge, addresses, veth pairs, published ports. In-process netlink only,
// no iptables, nft or ip process. Thread-safe; calls block for kernel work only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::network {

struct NetworkConfig {
  std::string bridge = "caisson0";  // interface name
  std::string bridge_address;       // "172.17.0.1/16"; empty: first free pool 172.17-31.0.0/16
  std::string table;                // name of this engine's own nftables table
  int mtu = 1500;
  bool enable_nat = true;  // false: no nftables table, and ports cannot be published
  int namespace_pool = 3;  // network namespaces kept ready; 0: made on demand
};

struct PortMapping {
  std::string protocol = "tcp";  // tcp | udp
  uint16_t container_port = 0;
  std::string host_ip = "0.0.0.0";
  uint16_t host_port = 0;  // 0: a free port is chosen
};

struct Endpoint {
  std::string container_id;
  std::string interface;  // host end's name
  std::string mac;        // "02:42:ac:11:00:02"
  std::string address;    // "172.17.0.2"
  int prefix = 0;
  std::string gateway;
  std::vector<PortMapping> ports;  // host_port filled in
};

struct BridgeInfo {
  std::string name, subnet, gateway;  // "caisson0", "172.17.0.0/16", "172.17.0.1"
  int mtu = 1500;
};

class NetworkManager {
 public:
  // Does not touch the kernel: the bridge and the table appear with the first attach_bridge() or restore().
  static Result<std::unique_ptr<NetworkManager>> create(NetworkConfig config);
  virtual ~NetworkManager() = default;

  // A fresh network namespace with only lo (up), from the pool where one is ready.
  virtual Result<UniqueFd> create_namespace() = 0;

  struct Attached {
    UniqueFd netns;
    Endpoint endpoint;
  };
  // Namespace, address, veth pair with the host end on the bridge and up, default route, ports
  // published, link known to carry traffic. kConflict names the owner of a taken port. All undone on
  // failure. `wanted_mac`, `wanted_address` may be empty; `link_local` are further addresses of 169.254.0.0/16.
  virtual Result<Attached> attach_bridge(const std::string& container_id, const std::vector<PortMapping>& ports,
                                         const std::string& wanted_mac, const std::string& wanted_address,
                                         const std::vector<std::string>& link_local = {}) = 0;
  // Frees ports and address at once; the pair goes with the namespace. Unknown ids are fine.
  virtual void detach(const std::string& container_id) = 0;
  // After an engine restart: takes back what a running container still has, republishes its ports.
  virtual Result<> restore(const Endpoint& endpoint) = 0;
  // After the last restore(): removes published ports in the kernel that nobody took back.
  virtual Result<> finish_restore() { return {}; }
  // Fills the pool of namespaces in the background. For the engine to call when it has nothing to do;
  // the first attach_bridge() or create_namespace() does it too. Makes no bridge and no table.
  virtual void warm_up() {}
  virtual BridgeInfo bridge_info() = 0;
  // Removes bridge and table from the kernel; for `--cleanup-network` and tests.
  virtual Result<> remove_all() = 0;
};

}  // namespace caisson::network
