// SPDX-License-Identifier: Apache-2.0
// Wires bridge, addresses, ports, rules and namespaces together. Two locks: setup_mutex_ serialises the
// making of bridge and table; mutex_ guards the tables in memory and is never held over a system call.
#include "network/network_manager.h"

#include <map>
#include <mutex>
#include <optional>

#include "base/ids.h"
#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "network/bridge.h"
#include "network/ipam.h"
#include "network/netns_pool.h"
#include "network/ports.h"
#include "network/rules.h"

namespace caisson::network {

namespace {
constexpr const char* kInside = "eth0";
constexpr int kReadyTimeoutMs = 5'000;
constexpr size_t kMaxPorts = 4096;  // of one container; a range of the whole port space is a mistake

bool is_table_name(std::string_view name) {
  if (name.empty() || name.size() > 64) return false;
  for (char c : name)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
      return false;
  return true;
}

struct Record {
  uint32_t address = 0;
  std::vector<PublishedPort> ports;
  bool busy = true;  // being attached, restored or detached
};

class Manager final : public NetworkManager {
 public:
  Manager(NetworkConfig config, std::optional<Subnet> wanted)
      : config_(std::move(config)),
        wanted_(wanted),
        bridge_{config_.bridge, config_.mtu, "caisson " + config_.table},
        rules_(config_.table, config_.bridge),
        pool_(static_cast<size_t>(config_.namespace_pool)) {}

  Result<UniqueFd> create_namespace() override { return std::move(TRY(pool_.take()).netns); }
  void warm_up() override { pool_.warm_up(); }
  Result<Attached> attach_bridge(const std::string& container_id, const std::vector<PortMapping>& ports,
                                 const std::string& wanted_mac, const std::string& wanted_address,
                                 const std::vector<std::string>& link_local) override;
  void detach(const std::string& container_id) override;
  Result<> restore(const Endpoint& endpoint) override;
  Result<> finish_restore() override;
  BridgeInfo bridge_info() override;
  Result<> remove_all() override;

 private:
  struct Ready {
    Subnet subnet;
    int bridge_index = 0;
  };
  Result<Ready> ensure_ready(const std::optional<Subnet>& hint);
  Result<> ensure_rules();
  Result<uint32_t> reserve(const std::string& container_id, const std::optional<uint32_t>& address);
  void forget(const std::string& container_id);
  Result<std::vector<PublishedPort>> parse_ports(const std::vector<PortMapping>& mappings, uint32_t address) const;
  struct Inside {
    uint32_t address = 0;
    sys::MacAddress mac{};
    std::vector<uint32_t> link_local;
  };
  Result<std::string> plug(sys::NewNamespace& space, const Ready& ready, const Inside& inside, bool hairpin,
                           sys::RouteSocket& route);
  Result<> publish(const std::string& container_id, const std::vector<PublishedPort>& ports, bool anew);
  std::vector<PublishedPort> all_ports();

  const NetworkConfig config_;
  const std::optional<Subnet> wanted_;
  const BridgeSpec bridge_;
  const Rules rules_;
  NetnsPool pool_;
  PortTable ports_;

  std::mutex setup_mutex_;  // guards the next four, and kernel work on bridge and table
  std::optional<Subnet> subnet_;
  int bridge_index_ = 0;
  bool ready_ = false;
  bool loopback_allowed_ = false;

  std::mutex mutex_;
  std::unique_ptr<Ipam> ipam_;
  std::map<std::string, Record> endpoints_;
};

Result<> Manager::ensure_rules() {
  if (!config_.enable_nat || TRY(rules_.exists())) return {};
  // The first time, or somebody flushed the whole ruleset of the host.
  TRY(rules_.install(*subnet_));
  return rules_.publish(all_ports(), false);
}

Result<Manager::Ready> Manager::ensure_ready(const std::optional<Subnet>& hint) {
  std::lock_guard setup(setup_mutex_);
  if (!ready_) {
    if (!subnet_) subnet_ = TRY(plan_bridge_subnet(config_.bridge, wanted_, hint));
    bridge_index_ = TRY_CTX(ensure_bridge(bridge_, *subnet_), "set up bridge '" + config_.bridge + "'");
    // Rewritten even if there: an engine of another release may have made it.
    if (config_.enable_nat) {
      TRY(rules_.install(*subnet_));
      TRY(rules_.publish(all_ports(), false));
    }
    loopback_allowed_ = false;
    std::lock_guard lock(mutex_);
    if (!ipam_) ipam_ = std::make_unique<Ipam>(*subnet_);
    ready_ = true;
  } else {
    TRY(ensure_rules());
  }
  return Ready{*subnet_, bridge_index_};
}

std::vector<PublishedPort> Manager::all_ports() {
  std::lock_guard lock(mutex_);
  std::vector<PublishedPort> all;
  for (const auto& [id, record] : endpoints_) all.insert(all.end(), record.ports.begin(), record.ports.end());
  return all;
}

Result<uint32_t> Manager::reserve(const std::string& container_id, const std::optional<uint32_t>& wanted) {
  std::lock_guard lock(mutex_);
  if (endpoints_.contains(container_id))
    return fail(ErrorKind::kConflict, "container '%s' is attached already", container_id.c_str());
  if (wanted) TRY(ipam_->take_wanted(*wanted));
  uint32_t address = wanted ? *wanted : TRY(ipam_->take());
  endpoints_[container_id].address = address;
  return address;
}

void Manager::forget(const std::string& container_id) {
  std::vector<PublishedPort> ports;
  {
    std::lock_guard lock(mutex_);
    auto found = endpoints_.find(container_id);
    if (found == endpoints_.end()) return;
    ports = std::move(found->second.ports);
    ipam_->release(found->second.address);
    endpoints_.erase(found);
  }
  ports_.release(ports);
}

Result<std::vector<PublishedPort>> Manager::parse_ports(const std::vector<PortMapping>& mappings,
                                                        uint32_t address) const {
  if (!mappings.empty() && !config_.enable_nat)
    return fail(ErrorKind::kUnsupported, "publishing ports needs NAT, which is turned off");
  if (mappings.size() > kMaxPorts) return fail(ErrorKind::kInvalid, "more than %zu published ports", kMaxPorts);
  std::vector<PublishedPort> ports;
  for (const auto& mapping : mappings) ports.push_back(TRY(parse_mapping(mapping, address)));
  return ports;
}

Result<std::string> Manager::plug(sys::NewNamespace& space, const Ready& ready, const Inside& inside, bool hairpin,
                                  sys::RouteSocket& route) {
  sys::VethRequest request;
  // Never a name that was used before: the kernel frees names some time after the namespace has gone.
  request.name = "veth" + random_hex(7);
  request.master = ready.bridge_index;
  // With br_netfilter (what Docker and Kubernetes turn on) DNAT happens on the bridge itself, and a container
  // that calls its own published port needs the frame back where it came from.
  request.hairpin = hairpin;
  request.mtu = config_.mtu;
  request.peer_name = kInside;
  request.peer_mac = inside.mac;
  request.peer_netns = space.netns.get();
  TRY(route.create_veth(request));
  TRY(space.route.configure({kInside, inside.address, ready.subnet.prefix, ready.subnet.address, inside.link_local}));
  return request.name;
}

Result<> Manager::publish(const std::string& container_id, const std::vector<PublishedPort>& ports, bool anew) {
  if (ports.empty()) return {};
  {
    std::lock_guard setup(setup_mutex_);
    if (!loopback_allowed_) TRY(allow_loopback_publishing(config_.bridge));
    loopback_allowed_ = true;
  }
  {
    // Before the element exists, so that finish_restore() and ensure_rules() know it is somebody's.
    std::lock_guard lock(mutex_);
    endpoints_[container_id].ports = ports;
  }
  auto done = rules_.publish(ports, anew);
  if (!done && done.error().err == ENOENT) {
    {
      std::lock_guard setup(setup_mutex_);
      TRY(ensure_rules());
    }
    done = rules_.publish(ports, anew);
  }
  if (!done) rules_.unpublish(ports);
  return done;
}

Result<NetworkManager::Attached> Manager::attach_bridge(const std::string& container_id,
                                                        const std::vector<PortMapping>& mappings,
                                                        const std::string& wanted_mac,
                                                        const std::string& wanted_address,
                                                        const std::vector<std::string>& link_local) {
  std::optional<uint32_t> fixed;
  if (!wanted_address.empty()) {
    fixed = parse_ipv4(wanted_address);
    if (!fixed) return fail(ErrorKind::kInvalid, "address %s is not an IPv4 address", quoted(wanted_address).c_str());
  }
  std::optional<sys::MacAddress> mac;
  if (!wanted_mac.empty()) {
    mac = parse_mac(wanted_mac);
    if (!mac || (*mac)[0] & 1 || *mac == sys::MacAddress{})
      return fail(ErrorKind::kInvalid, "%s is not a MAC address of a station", quoted(wanted_mac).c_str());
  }
  std::vector<uint32_t> more;
  for (const auto& text : link_local) {
    auto parsed = parse_ipv4(text);
    if (!parsed || *parsed >> 16 != 0xa9fe)
      return fail(ErrorKind::kUnsupported, "address %s is not an IPv4 link-local address", quoted(text).c_str());
    more.push_back(*parsed);
  }
  auto ready = TRY(ensure_ready({}));
  Rollback undo;
  uint32_t address = TRY(reserve(container_id, fixed));
  undo.add([this, &container_id] { forget(container_id); });
  if (!mac) mac = mac_of(address);

  auto ports = TRY(parse_ports(mappings, address));
  TRY(ports_.take(ports));
  {
    std::lock_guard lock(mutex_);
    endpoints_[container_id].ports = ports;
  }
  auto space = TRY_CTX(pool_.take(), "create network namespace");
  auto route = TRY(sys::RouteSocket::open(true));
  const Inside inside{address, *mac, std::move(more)};
  auto link = plug(space, ready, inside, !ports.empty(), route);
  if (!link && (link.error().err == EINVAL || link.error().err == ENODEV)) {
    // Most likely the bridge was deleted under us: make it again, once, in a fresh namespace.
    {
      std::lock_guard setup(setup_mutex_);
      ready_ = false;
    }
    log_debug("%s, setting the bridge up again", link.error().message.c_str());
    ready = TRY(ensure_ready({}));
    space = TRY_CTX(pool_.take(), "create network namespace");
    link = plug(space, ready, inside, !ports.empty(), route);
  }
  if (!link) return std::unexpected(link.error());
  TRY(publish(container_id, ports, true));
  undo.add([this, ports] { rules_.unpublish(ports); });
  TRY(route.wait_ready({*link, config_.bridge}, kReadyTimeoutMs));

  Attached attached;
  attached.netns = std::move(space.netns);
  Endpoint& endpoint = attached.endpoint;
  endpoint.container_id = container_id;
  endpoint.interface = *link;
  endpoint.mac = format_mac(*mac);
  endpoint.address = format_ipv4(address);
  endpoint.prefix = ready.subnet.prefix;
  endpoint.gateway = format_ipv4(ready.subnet.address);
  endpoint.ports = mappings;
  for (size_t i = 0; i < ports.size(); ++i) endpoint.ports[i].host_port = ports[i].host_port;
  undo.commit();
  std::lock_guard lock(mutex_);
  endpoints_[container_id].busy = false;
  return attached;
}

void Manager::detach(const std::string& container_id) {
  std::vector<PublishedPort> ports;
  {
    std::lock_guard lock(mutex_);
    auto found = endpoints_.find(container_id);
    if (found == endpoints_.end() || found->second.busy) return;
    found->second.busy = true;
    ports = found->second.ports;
  }
  // Rules first: an address or port that is free again must not lead to the old container.
  rules_.unpublish(ports);
  forget(container_id);
}

Result<> Manager::restore(const Endpoint& endpoint) {
  auto address = parse_ipv4(endpoint.address), gateway = parse_ipv4(endpoint.gateway);
  if (!address || !gateway || endpoint.prefix < 8 || endpoint.prefix > 30)
    return fail(ErrorKind::kInvalid, "endpoint of container '%s' has no valid address", endpoint.container_id.c_str());
  if (!sys::is_interface_name(endpoint.interface))
    return fail(ErrorKind::kInvalid, "endpoint of container '%s' has no valid interface",
                endpoint.container_id.c_str());
  auto ready = TRY(ensure_ready(Subnet{*gateway, endpoint.prefix}));
  Rollback undo;
  TRY(reserve(endpoint.container_id, address));
  undo.add([this, &endpoint] { forget(endpoint.container_id); });
  auto ports = TRY(parse_ports(endpoint.ports, *address));
  for (const auto& port : ports)
    if (!port.host_port)
      return fail(ErrorKind::kInvalid, "a published port of container '%s' has no host port",
                  endpoint.container_id.c_str());
  auto route = TRY(sys::RouteSocket::open());
  // Does nothing if the link is on the bridge; needed when the bridge had to be made again.
  auto plugged = route.set_master(endpoint.interface, ready.bridge_index);
  if (!plugged && plugged.error().err == ENODEV)
    return fail(ErrorKind::kNotFound, "link '%s' of container '%s' is gone", endpoint.interface.c_str(),
                endpoint.container_id.c_str());
  if (!plugged) return plugged;
  TRY(ports_.take_back(ports));
  {
    std::lock_guard lock(mutex_);
    endpoints_[endpoint.container_id].ports = ports;
  }
  TRY(publish(endpoint.container_id, ports, false));
  undo.commit();
  std::lock_guard lock(mutex_);
  endpoints_[endpoint.container_id].busy = false;
  return {};
}

Result<> Manager::finish_restore() {
  if (!config_.enable_nat) return {};
  return rules_.retain(all_ports());
}

BridgeInfo Manager::bridge_info() {
  std::lock_guard setup(setup_mutex_);
  BridgeInfo info{config_.bridge, "", "", config_.mtu};
  if (!subnet_) {
    auto planned = plan_bridge_subnet(config_.bridge, wanted_);
    if (!planned) {
      log_warn("choose the bridge's subnet: %s", planned.error().message.c_str());
      return info;
    }
    subnet_ = *planned;
  }
  info.subnet = subnet_->text();
  info.gateway = format_ipv4(subnet_->address);
  return info;
}

Result<> Manager::remove_all() {
  std::lock_guard setup(setup_mutex_);
  ready_ = false;
  TRY(rules_.remove());
  return remove_bridge(bridge_);
}
}  // namespace

Result<std::unique_ptr<NetworkManager>> NetworkManager::create(NetworkConfig config) {
  if (!sys::is_interface_name(config.bridge))
    return fail(ErrorKind::kInvalid, "bridge name %s is not valid", quoted(config.bridge).c_str());
  if (config.table.empty()) config.table = "caisson_" + config.bridge;
  if (!is_table_name(config.table))
    return fail(ErrorKind::kInvalid, "nftables table name %s is not valid", quoted(config.table).c_str());
  if (config.mtu == 0) config.mtu = 1500;
  if (config.mtu < 68 || config.mtu > 65535)
    return fail(ErrorKind::kInvalid, "mtu %d is not between 68 and 65535", config.mtu);
  if (config.namespace_pool < 0 || config.namespace_pool > 64)
    return fail(ErrorKind::kInvalid, "namespace pool of %d is not between 0 and 64", config.namespace_pool);
  std::optional<Subnet> wanted;
  if (!config.bridge_address.empty()) wanted = TRY(parse_gateway(config.bridge_address));
  return std::make_unique<Manager>(std::move(config), wanted);
}

}  // namespace caisson::network
