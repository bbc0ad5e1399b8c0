// SPDX-License-Identifier: Apache-2.0
// Networks of containers: bridges, addresses, veth pairs, published ports. In-process netlink only,
// no iptables, nft or ip process. Thread-safe; calls block for kernel work only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/ip_address.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/netns.h"

namespace caisson::network {

// A block of addresses, IPv4 or IPv6, that subnets of one size are cut from.
struct AddressBlock {
  std::string base;  // "172.17.0.0/12"
  int size = 16;     // prefix of each subnet
};

// What the outside may do with a network, for each family; Docker's gateway_mode.
enum class GatewayMode {
  kNat,             // published ports by address translation, all else is closed
  kNatUnprotected,  // likewise, and every port of the containers is open to whoever routes there
  kRouted,          // no translation; published ports are open at the containers' own addresses
  kIsolated,        // the bridge has no address: no gateway; of internal networks only
};

struct NetworkConfig {
  std::string bridge = "caisson0";      // interface name of the default network
  std::string bridge_address;           // "172.17.0.1/16"; empty: the first free one of `blocks`
  bool ipv6 = false;                    // the default network has IPv6 too
  std::string bridge_address6;          // "fd00:1::1/64"; empty: the first free one of `blocks`
  std::string fixed_cidr, fixed_cidr6;  // addresses of the default network are chosen from these; empty: all
  std::string host_ip;                  // where ports are published that name no address; empty: everywhere
  std::string table;                    // name of this engine's own nftables table
  int mtu = 1500;
  bool enable_nat = true;   // false: no nftables table, and ports cannot be published
  bool enable_nat6 = true;  // the same for IPv6 alone
  bool forward = true;      // false: forwarding of the host is never turned on
  bool masquerade = true;   // of the default network
  // caisson-relay and the socket it is reached at: published ports of containers without IPv6 are there for clients
  // of IPv6 too, and those of all on ::1. Empty: they are not.
  std::string relay_program, relay_socket;
  // What comes in for published ports obeys the host's INPUT rules; caisson-gate and the socket it is reached at are
  // for that. A program left by an earlier engine is ended where it is not wanted any more.
  bool honor_firewall = false;
  std::string gate_program, gate_socket;
  bool direct_routing = false;  // published ports are open at the containers' own addresses, to whoever routes there
  // caisson-firewalld: bridges are put into a zone of firewalld's where it runs. Empty: they are not.
  std::string firewalld_program;
  // What the container of an id is called, for messages; empty: they do without.
  std::function<std::string(const std::string& container_id)> name_of;
  std::string ula_seed;              // subnets of fd00::/8 are chosen by it, where `blocks` has none of IPv6
  bool icc = true;                   // containers of the default network reach each other
  int namespace_pool = 3;            // network namespaces kept ready; 0: made on demand
  std::vector<AddressBlock> blocks;  // empty: 172.17-31.0.0/16, then 192.168.0.0/16 in /20
};

// The default network's id in every call here.
inline constexpr const char* kDefaultNetwork = "bridge";

// The addresses of one family.
struct AddressPlan {
  bool enabled = true;
  std::string subnet;                 // "172.18.0.0/16"; empty: chosen
  std::string gateway;                // empty: the first host address
  std::string range;                  // "172.18.5.0/24": addresses are chosen from it only
  std::vector<std::string> reserved;  // never given out
  GatewayMode mode = GatewayMode::kNat;
  std::string source;  // what containers are seen as outside; empty: the address of the host's interface
};

struct NetworkSpec {
  std::string id, name;  // name: for messages
  std::string bridge;    // interface name
  AddressPlan v4, v6{.enabled = false};
  bool internal = false;  // no way out, no default route
  bool icc = true;        // its containers reach each other
  bool masquerade = true;
  bool bridge_without_address = false;          // of IPv4 (inhibit_ipv4): the administrator gives it one
  int mtu = 0;                                  // 0: the engine's
  std::string host_ip;                          // where ports are published that name no address; empty: the engine's
  std::vector<std::string> trusted_interfaces;  // of the host: who comes in there reaches published ports directly
};

// The ports container_port to container_port + count - 1, and as many of the host.
struct PortMapping {
  std::string protocol = "tcp";  // tcp | udp | sctp
  uint16_t container_port = 0;
  // Empty: every address, of the families that the endpoint has; in what comes back it is "0.0.0.0" and "::".
  std::string host_ip;
  uint16_t host_port = 0;  // 0: a free port is chosen, the same for both families
  uint16_t count = 1;      // with host_port only
  bool operator==(const PortMapping&) const = default;
};

struct Endpoint {
  std::string container_id;
  std::string network_id = kDefaultNetwork;
  std::string interface;  // host end's name
  std::string inside;     // "eth0"
  std::string mac;        // "02:42:ac:11:00:02"
  std::string address;    // "172.17.0.2"; empty without IPv4
  int prefix = 0;
  std::string gateway;   // empty on an internal network
  std::string address6;  // "fd00:1::2"; empty without IPv6
  int prefix6 = 0;
  std::string gateway6;
  std::vector<PortMapping> ports;  // host_ip and host_port filled in
};

struct BridgeInfo {
  std::string name, subnet, gateway;  // "caisson0", "172.17.0.0/16", "172.17.0.1"
  std::string subnet6, gateway6;      // empty without IPv6
  int mtu = 1500;
};

struct AttachRequest {
  std::string container_id;
  std::string network_id = kDefaultNetwork;
  std::string inside = "eth0";          // name of the interface in the container
  std::string mac, address, address6;   // empty: chosen
  std::vector<std::string> link_local;  // further addresses of 169.254.0.0/16 or fe80::/64
  std::vector<PortMapping> ports;       // kConflict names the owner of a taken one
  bool default_route = true;            // by this network; not of an internal one
  bool default_route6 = true;           // the same for IPv6
  // "net.ipv4.conf.IFNAME.log_martians=1", IFNAME standing for the interface; kInvalid for settings of anything else.
  std::vector<std::string> sysctls;
  uint64_t limit_in = 0, limit_out = 0;  // bits a second to and from the container; 0: no limit
};

// A network namespace with what is needed to work in it from outside.
using Sandbox = sys::NewNamespace;

class NetworkManager {
 public:
  // Does not touch the kernel: bridges and the table appear with the first attach() or restore().
  static Result<std::unique_ptr<NetworkManager>> create(NetworkConfig config);
  virtual ~NetworkManager() = default;

  // A fresh network namespace with only lo (up), from the pool where one is ready.
  virtual Result<Sandbox> create_sandbox() = 0;
  // That of a running container. `netns` stays the caller's.
  virtual Result<Sandbox> open_sandbox(int netns) = 0;
  // Calls `body` on a thread that is in the namespace.
  virtual Result<> run_inside(int netns, const std::function<Result<>()>& body) = 0;
  // A UDP socket and a listening TCP socket at 127.0.0.11 in the namespace, with what is sent to port 53 of that
  // address led to them; `query`: unbound ones, two of UDP and one of TCP
  // of each family it is to ask by.
  struct QueryFamilies {
    bool v4 = true, v6 = false;
    bool operator==(const QueryFamilies&) const = default;
  };
  struct NameSockets {
    UniqueFd udp, tcp;
    std::vector<UniqueFd> query;
  };
  virtual Result<NameSockets> open_name_sockets(int netns, QueryFamilies families) = 0;

  // Makes a network known, the subnet chosen if it names none; subnets, gateways, mtu are filled in. kInvalid,
  // kExists: an interface of that name or overlapping addresses. `make`: the bridge is made now. `avoid`: subnets that
  // networks of others have.
  virtual Result<> add_network(NetworkSpec& spec, bool make, const std::vector<IpSubnet>& avoid = {}) = 0;
  // kConflict while containers are attached. The bridge goes if it is ours. Unknown ids are fine.
  virtual Result<> remove_network(const std::string& id) = 0;

  // Address, veth pair with the host end on the bridge and up, routes, ports published, link known to carry
  // traffic. All undone on failure.
  virtual Result<Endpoint> attach(Sandbox& sandbox, const AttachRequest& request) = 0;
  // Frees ports and addresses of the container at once; the pairs go with the namespace. Unknown ids are fine.
  virtual void detach(const std::string& container_id) = 0;
  // Takes a running container off one network: the pair is deleted.
  virtual Result<> disconnect(const std::string& container_id, const std::string& network_id) = 0;
  // Publishes in addition to what the endpoint has; its list grows.
  virtual Result<> publish(Endpoint& endpoint, const std::vector<PortMapping>& ports) = 0;
  virtual void unpublish(Endpoint& endpoint) = 0;  // all of it
  // Those of `ports` alone; what is not published is passed over.
  virtual void unpublish(Endpoint& endpoint, const std::vector<PortMapping>& ports) = 0;
  // Makes the default route of the namespace that by `gateway`; none when empty.
  virtual Result<> set_default_route(Sandbox& sandbox, const std::string& gateway) = 0;
  virtual Result<> set_default_route6(Sandbox& sandbox, const std::string& gateway) = 0;

  // After an engine restart: takes back what a running container still has, republishes its ports.
  virtual Result<> restore(const Endpoint& endpoint) = 0;
  // After the last restore(): removes published ports in the kernel that nobody took back.
  virtual Result<> finish_restore() { return {}; }
  // Readable when somebody changed rules of the host; -1 without rules of our own. For an event loop.
  virtual int rule_events() = 0;
  // Reads what came: true when the engine's table is gone, or may be. Does not block.
  virtual bool rules_are_lost() = 0;
  // Writes table and published ports anew if they are gone and were there before.
  virtual Result<> repair_rules() = 0;
  // Readable when links of the host were deleted or lost an address; -1: not watched. For an event loop.
  virtual int link_events() { return -1; }
  // Reads what came: true when that may concern bridges of ours. Does not block.
  virtual bool bridges_are_lost() { return false; }
  // Makes such bridges again, with their containers on them.
  virtual Result<> repair_bridges() { return {}; }
  // Fills the pool of namespaces in the background. For the engine to call when it has nothing to do;
  // the first attach does it too. Makes no bridge and no table.
  virtual void warm_up() {}
  virtual BridgeInfo bridge_info() = 0;
  // How many endpoints a network has.
  virtual size_t endpoints_on(const std::string& network_id) = 0;
  // Removes bridges and table from the kernel; for `--cleanup-network` and tests.
  virtual Result<> remove_all() = 0;

  // A container with the default network alone: create_sandbox() and attach().
  struct Attached {
    UniqueFd netns;
    Endpoint endpoint;
  };
  Result<Attached> attach_bridge(const std::string& container_id, const std::vector<PortMapping>& ports,
                                 const std::string& wanted_mac, const std::string& wanted_address,
                                 const std::vector<std::string>& link_local = {});
};

}  // namespace caisson::network
