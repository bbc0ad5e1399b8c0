// SPDX-License-Identifier: Apache-2.0
// Wires bridges, addresses, ports, rules and namespaces together. Two locks: setup_mutex_ serialises the
// making of bridges and table; mutex_ guards the tables in memory and is never held over a system call.
#include "network/network_manager.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>

#include "base/ids.h"
#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "network/bridge.h"
#include "network/endpoint_settings.h"
#include "network/ipam.h"
#include "network/name_sockets.h"
#include "network/netns_pool.h"
#include "network/ports.h"
#include "network/rules.h"
#include "network/subnet_plan.h"
#include "sys/nft.h"

namespace caisson::network {

namespace {
constexpr int kReadyTimeoutMs = 5'000;
constexpr size_t kMaxPorts = 4096;  // of one container; a range of the whole port space is a mistake
constexpr int kEventsAtOnce = 64;

bool is_table_name(std::string_view name) {
  if (name.empty() || name.size() > 64) return false;
  for (char c : name)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
      return false;
  return true;
}

// One network. `spec`, `subnet` once chosen, and `owned` do not change.
struct Network {
  NetworkSpec spec;
  std::optional<Subnet> wanted;  // of the default network, before the subnet is chosen

  // With setup_mutex_.
  std::optional<Subnet> subnet;
  int bridge_index = 0;
  bool ready = false;
  bool loopback_allowed = false;

  // With mutex_.
  std::unique_ptr<Ipam> ipam;
  size_t endpoints = 0;
};
using NetworkPtr = std::shared_ptr<Network>;

struct Record {
  NetworkPtr network;
  uint32_t address = 0;
  std::string interface;
  std::vector<PublishedPort> ports;
  bool busy = true;  // being attached, restored or detached
};

struct Key {
  std::string container_id, network_id;
  auto operator<=>(const Key&) const = default;
};

class Manager final : public NetworkManager {
 public:
  Manager(NetworkConfig config, std::optional<Subnet> wanted, std::vector<SubnetBlock> blocks);

  Result<Sandbox> create_sandbox() override { return pool_.take(); }
  Result<Sandbox> open_sandbox(int netns) override { return pool_.enter(netns); }
  Result<NameSockets> open_name_sockets(int netns) override;
  void warm_up() override { pool_.warm_up(); }
  Result<> add_network(NetworkSpec& spec, bool make) override;
  Result<> remove_network(const std::string& id) override;
  Result<Endpoint> attach(Sandbox& sandbox, const AttachRequest& request) override;
  void detach(const std::string& container_id) override;
  Result<> disconnect(const std::string& container_id, const std::string& network_id) override;
  Result<> publish(Endpoint& endpoint, const std::vector<PortMapping>& ports) override;
  void unpublish(Endpoint& endpoint) override;
  void unpublish(Endpoint& endpoint, const std::vector<PortMapping>& ports) override;
  Result<> set_default_route(Sandbox& sandbox, const std::string& gateway) override;
  Result<> set_default_route6(Sandbox&, const std::string& gateway) override {
    if (gateway.empty()) return {};
    return fail(ErrorKind::kUnsupported, "there are no IPv6 gateways");
  }
  Result<> restore(const Endpoint& endpoint) override;
  Result<> finish_restore() override;
  int rule_events() override;
  bool rules_are_lost() override;
  Result<> repair_rules() override;
  BridgeInfo bridge_info() override;
  size_t endpoints_on(const std::string& network_id) override;
  Result<> remove_all() override;

 private:
  struct Ready {
    Subnet subnet;
    int bridge_index = 0;
  };
  struct Inside {
    uint32_t address = 0;
    sys::MacAddress mac{};
    std::vector<uint32_t> link_local;
  };
  BridgeSpec bridge_of(const Network& network) const;
  Result<NetworkPtr> find(const std::string& id);
  std::vector<NetworkPtr> all_networks();
  Result<std::vector<Subnet>> taken_subnets(bool of_host);
  Result<> plan_subnet(NetworkSpec& spec, Network& network);
  Result<Ready> ensure_ready(Network& network, const std::optional<Subnet>& hint);
  Result<> ensure_rules();
  Result<> install_rules();
  Result<uint32_t> reserve(const Key& key, const NetworkPtr& network, const std::optional<uint32_t>& address);
  void forget(const Key& key);
  Result<std::vector<PublishedPort>> parse_ports(const std::vector<PortMapping>& mappings, uint32_t address) const;
  Result<std::string> plug(Sandbox& space, const Network& network, const Ready& ready, const Inside& inside,
                           const AttachRequest& request, sys::RouteSocket& route);
  Result<> publish_at(Network& network, const std::vector<PublishedPort>& ports, bool anew);
  void set_ports(const Key& key, std::vector<PublishedPort> ports);
  std::vector<PublishedPort> all_ports();

  const NetworkConfig config_;
  const std::vector<SubnetBlock> blocks_;
  const Rules rules_;
  NetnsPool pool_;
  PortTable ports_;
  std::optional<sys::NetlinkSocket> events_;  // of the loop's thread

  std::mutex setup_mutex_;  // guards kernel work on bridges and table, and what Network says

  std::mutex mutex_;
  std::map<std::string, NetworkPtr> networks_;
  std::map<Key, Record> endpoints_;
};

Manager::Manager(NetworkConfig config, std::optional<Subnet> wanted, std::vector<SubnetBlock> blocks)
    : config_(std::move(config)),
      blocks_(std::move(blocks)),
      rules_(config_.table),
      pool_(static_cast<size_t>(config_.namespace_pool)) {
  auto network = std::make_shared<Network>();
  network->spec.id = network->spec.name = kDefaultNetwork;
  network->spec.bridge = config_.bridge;
  network->spec.mtu = config_.mtu;
  network->spec.icc = config_.icc;
  network->wanted = wanted;
  networks_[kDefaultNetwork] = std::move(network);
}

BridgeSpec Manager::bridge_of(const Network& network) const {
  return {network.spec.bridge, network.spec.mtu, "caisson " + config_.table};
}

Result<NetworkPtr> Manager::find(const std::string& id) {
  std::lock_guard lock(mutex_);
  auto found = networks_.find(id);
  if (found == networks_.end()) return fail(ErrorKind::kNotFound, "network %s not found", id.c_str());
  return found->second;
}

std::vector<NetworkPtr> Manager::all_networks() {
  std::lock_guard lock(mutex_);
  std::vector<NetworkPtr> all;
  for (const auto& [id, network] : networks_) all.push_back(network);
  return all;
}

// --- networks ------------------------------------------------------------------------------------------

// With setup_mutex_. What the networks of this engine have, and what the host's links and routes have.
Result<std::vector<Subnet>> Manager::taken_subnets(bool of_host) {
  std::vector<Subnet> used;
  for (const auto& network : all_networks()) {
    if (!network->subnet && network->spec.id == kDefaultNetwork)
      network->subnet = TRY(plan_bridge_subnet(config_.bridge, network->wanted, blocks_));
    if (network->subnet) used.push_back(*network->subnet);
  }
  if (!of_host) return used;
  auto route = TRY(sys::RouteSocket::open());
  for (const auto& entry : TRY(route.list_addresses())) used.push_back({entry.address, entry.prefix});
  for (const auto& entry : TRY(route.list_routes())) used.push_back({entry.destination, entry.prefix});
  return used;
}

// With setup_mutex_.
Result<> Manager::plan_subnet(NetworkSpec& spec, Network& network) {
  auto used = TRY(taken_subnets(spec.v4.subnet.empty()));
  network.subnet =
      TRY(spec.v4.subnet.empty() ? choose_network_subnet(spec, used, blocks_) : check_network_subnet(spec, used));
  return {};
}

Result<> Manager::add_network(NetworkSpec& spec, bool make) {
  if (!sys::is_interface_name(spec.bridge))
    return fail(ErrorKind::kInvalid, "invalid bridge name %s", quoted(spec.bridge).c_str());
  if (spec.mtu == 0) spec.mtu = config_.mtu;
  if (spec.mtu < 68 || spec.mtu > 65535)
    return fail(ErrorKind::kInvalid, "mtu %d is not between 68 and 65535", spec.mtu);
  auto network = std::make_shared<Network>();
  std::lock_guard setup(setup_mutex_);
  for (const auto& other : all_networks()) {
    if (other->spec.id == spec.id) return fail(ErrorKind::kExists, "network '%s' is there already", spec.id.c_str());
    if (other->spec.bridge == spec.bridge)
      return fail(ErrorKind::kDenied,
                  "cannot create network %s (%s): conflicts with network %s (%s): networks have same "
                  "bridge name",
                  spec.id.c_str(), spec.bridge.c_str(), other->spec.id.c_str(), spec.bridge.c_str());
  }
  TRY(plan_subnet(spec, *network));
  network->ipam = TRY(make_ipam(spec, *network->subnet));
  network->spec = spec;
  Rollback undo;
  if (make) {
    network->bridge_index =
        TRY_CTX(ensure_bridge(bridge_of(*network), *network->subnet), "set up bridge '" + spec.bridge + "'");
    undo.add([this, &network] {
      if (auto gone = remove_bridge(bridge_of(*network)); !gone)
        log_debug("%s, ignoring", gone.error().message.c_str());
    });
    if (config_.enable_nat) {
      // Without a table it comes, with all bridges, at the first attachment.
      auto added = rules_.add_bridge({spec.bridge, *network->subnet, spec.masquerade, spec.internal});
      if (!added && added.error().err != ENOENT) return added;
    }
    network->ready = true;
    undo.commit();
  }
  std::lock_guard lock(mutex_);
  networks_[spec.id] = std::move(network);
  return {};
}

Result<> Manager::remove_network(const std::string& id) {
  std::lock_guard setup(setup_mutex_);
  NetworkPtr network;
  {
    std::lock_guard lock(mutex_);
    auto found = networks_.find(id);
    if (found == networks_.end() || id == kDefaultNetwork) return {};
    if (found->second->endpoints)
      return fail(ErrorKind::kConflict, "network %s has active endpoints", found->second->spec.name.c_str());
    network = std::move(found->second);
    networks_.erase(found);
  }
  if (config_.enable_nat && network->ready) {
    const auto& spec = network->spec;
    auto done = rules_.remove_bridge({spec.bridge, *network->subnet, spec.masquerade, spec.internal});
    // Something was missing: all of it is written anew, if there is a table at all.
    if (!done && TRY(rules_.exists())) TRY(install_rules());
  }
  network->ready = false;
  return remove_bridge(bridge_of(*network));
}

// With setup_mutex_.
Result<> Manager::install_rules() {
  std::vector<BridgeRules> bridges;
  for (const auto& network : all_networks())
    if (network->ready)
      bridges.push_back({network->spec.bridge, *network->subnet, network->spec.masquerade, network->spec.internal});
  return rules_.install(bridges);
}

// With setup_mutex_.
Result<> Manager::ensure_rules() {
  if (!config_.enable_nat || TRY(rules_.exists())) return {};
  // The first time, or somebody flushed the whole ruleset of the host.
  TRY(install_rules());
  return rules_.publish(all_ports(), false);
}

Result<Manager::Ready> Manager::ensure_ready(Network& network, const std::optional<Subnet>& hint) {
  std::lock_guard setup(setup_mutex_);
  if (network.ready) {
    TRY(ensure_rules());
    return Ready{*network.subnet, network.bridge_index};
  }
  const auto& spec = network.spec;
  if (!network.subnet) network.subnet = TRY(plan_bridge_subnet(spec.bridge, network.wanted, blocks_, hint));
  network.bridge_index =
      TRY_CTX(ensure_bridge(bridge_of(network), *network.subnet), "set up bridge '" + spec.bridge + "'");
  network.ready = true;
  Rollback undo;
  undo.add([&network] { network.ready = false; });
  // Rewritten even if there: an engine of another release may have made it.
  if (config_.enable_nat) {
    TRY(install_rules());
    TRY(rules_.publish(all_ports(), false));
  }
  network.loopback_allowed = false;
  std::lock_guard lock(mutex_);
  if (!network.ipam) network.ipam = TRY(make_ipam(spec, *network.subnet));
  undo.commit();
  return Ready{*network.subnet, network.bridge_index};
}

size_t Manager::endpoints_on(const std::string& network_id) {
  std::lock_guard lock(mutex_);
  auto found = networks_.find(network_id);
  return found == networks_.end() ? 0 : found->second->endpoints;
}

// --- endpoints -----------------------------------------------------------------------------------------

std::vector<PublishedPort> Manager::all_ports() {
  std::lock_guard lock(mutex_);
  std::vector<PublishedPort> all;
  for (const auto& [id, record] : endpoints_) all.insert(all.end(), record.ports.begin(), record.ports.end());
  return all;
}

Result<uint32_t> Manager::reserve(const Key& key, const NetworkPtr& network, const std::optional<uint32_t>& wanted) {
  std::lock_guard lock(mutex_);
  if (!networks_.contains(key.network_id))  // removed meanwhile
    return fail(ErrorKind::kNotFound, "network %s not found", network->spec.name.c_str());
  if (endpoints_.contains(key))
    return fail(ErrorKind::kConflict, "container '%s' is attached already", key.container_id.c_str());
  if (wanted) TRY(network->ipam->take_wanted(*wanted));
  uint32_t address = wanted ? *wanted : TRY(network->ipam->take());
  auto& record = endpoints_[key];
  record.network = network;
  record.address = address;
  ++network->endpoints;
  return address;
}

void Manager::forget(const Key& key) {
  std::vector<PublishedPort> ports;
  {
    std::lock_guard lock(mutex_);
    auto found = endpoints_.find(key);
    if (found == endpoints_.end()) return;
    ports = std::move(found->second.ports);
    found->second.network->ipam->release(found->second.address);
    --found->second.network->endpoints;
    endpoints_.erase(found);
  }
  ports_.release(ports);
}

void Manager::set_ports(const Key& key, std::vector<PublishedPort> ports) {
  std::lock_guard lock(mutex_);
  if (auto found = endpoints_.find(key); found != endpoints_.end()) found->second.ports = std::move(ports);
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

Result<std::string> Manager::plug(Sandbox& space, const Network& network, const Ready& ready, const Inside& inside,
                                  const AttachRequest& asked, sys::RouteSocket& route) {
  sys::VethRequest request;
  // Never a name that was used before: the kernel frees names some time after the namespace has gone.
  request.name = "veth" + random_hex(7);
  request.master = ready.bridge_index;
  // With br_netfilter (what Docker and Kubernetes turn on) DNAT happens on the bridge itself, and a container
  // that calls its own published port needs the frame back where it came from.
  request.hairpin = !asked.ports.empty();
  request.isolated = !network.spec.icc;
  request.mtu = network.spec.mtu;
  request.peer_name = asked.inside;
  request.peer_mac = inside.mac;
  request.peer_netns = space.netns.get();
  TRY(route.create_veth(request));
  uint32_t gateway = asked.default_route && !network.spec.internal ? ready.subnet.address : 0;
  TRY(space.route.configure({asked.inside, inside.address, ready.subnet.prefix, gateway, inside.link_local}));
  return request.name;
}

Result<> Manager::publish_at(Network& network, const std::vector<PublishedPort>& ports, bool anew) {
  if (ports.empty()) return {};
  {
    std::lock_guard setup(setup_mutex_);
    if (!network.loopback_allowed) TRY(allow_loopback_publishing(network.spec.bridge));
    network.loopback_allowed = true;
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

Result<Endpoint> Manager::attach(Sandbox& sandbox, const AttachRequest& request) {
  std::optional<uint32_t> fixed;
  if (!request.address.empty()) {
    fixed = parse_ipv4(request.address);
    if (!fixed) return fail(ErrorKind::kInvalid, "address %s is not an IPv4 address", quoted(request.address).c_str());
  }
  if (!sys::is_interface_name(request.inside))
    return fail(ErrorKind::kInvalid, "%s is not a name of an interface", quoted(request.inside).c_str());
  Inside inside;
  std::optional<sys::MacAddress> mac;
  if (!request.mac.empty()) {
    mac = parse_mac(request.mac);
    if (!mac || (*mac)[0] & 1 || *mac == sys::MacAddress{})
      return fail(ErrorKind::kInvalid, "%s is not a MAC address of a station", quoted(request.mac).c_str());
  }
  for (const auto& text : request.link_local) {
    auto parsed = parse_ipv4(text);
    if (!parsed || *parsed >> 16 != 0xa9fe)
      return fail(ErrorKind::kUnsupported, "address %s is not an IPv4 link-local address", quoted(text).c_str());
    inside.link_local.push_back(*parsed);
  }
  auto network = TRY(find(request.network_id));
  auto ready = TRY(ensure_ready(*network, {}));
  const Key key{request.container_id, request.network_id};
  auto settings = TRY(parse_settings(request.sysctls, request.inside));
  Rollback undo;
  inside.address = TRY(reserve(key, network, fixed));
  undo.add([this, &key] { forget(key); });
  inside.mac = mac ? *mac : mac_of(inside.address);

  auto ports = TRY(parse_ports(request.ports, inside.address));
  TRY(ports_.take(ports));
  set_ports(key, ports);
  auto route = TRY(sys::RouteSocket::open(true));
  auto link = plug(sandbox, *network, ready, inside, request, route);
  if (!link && (link.error().err == EINVAL || link.error().err == ENODEV)) {
    // Most likely the bridge was deleted under us: make it again, once. The pair was never made then.
    {
      std::lock_guard setup(setup_mutex_);
      network->ready = false;
    }
    log_debug("%s, setting the bridge up again", link.error().message.c_str());
    ready = TRY(ensure_ready(*network, {}));
    link = plug(sandbox, *network, ready, inside, request, route);
  }
  if (!link) return std::unexpected(link.error());
  // One that joins a running container does not go with the namespace.
  undo.add([&link, &route] {
    if (auto gone = route.delete_link(*link); !gone) log_debug("%s, ignoring", gone.error().message.c_str());
  });
  if (!settings.empty())
    TRY(pool_.run_inside(sandbox.netns.get(), [&]() -> Result<> { return apply_settings(settings); }));
  TRY(publish_at(*network, ports, true));
  undo.add([this, ports] { rules_.unpublish(ports); });
  TRY(route.wait_ready({*link, network->spec.bridge}, kReadyTimeoutMs));

  Endpoint endpoint;
  endpoint.container_id = request.container_id;
  endpoint.network_id = request.network_id;
  endpoint.interface = *link;
  endpoint.inside = request.inside;
  endpoint.mac = format_mac(inside.mac);
  endpoint.address = format_ipv4(inside.address);
  endpoint.prefix = ready.subnet.prefix;
  if (!network->spec.internal) endpoint.gateway = format_ipv4(ready.subnet.address);
  endpoint.ports = request.ports;
  for (size_t i = 0; i < ports.size(); ++i) {
    endpoint.ports[i].host_port = ports[i].host_port;
    if (endpoint.ports[i].host_ip.empty()) endpoint.ports[i].host_ip = "0.0.0.0";
  }
  undo.commit();
  std::lock_guard lock(mutex_);
  auto& record = endpoints_[key];
  record.interface = *link;
  record.busy = false;
  return endpoint;
}

void Manager::detach(const std::string& container_id) {
  std::vector<Key> keys;
  std::vector<PublishedPort> ports;
  {
    std::lock_guard lock(mutex_);
    for (auto at = endpoints_.lower_bound({container_id, ""});
         at != endpoints_.end() && at->first.container_id == container_id; ++at) {
      if (at->second.busy) continue;
      at->second.busy = true;
      keys.push_back(at->first);
      ports.insert(ports.end(), at->second.ports.begin(), at->second.ports.end());
    }
  }
  // Rules first: an address or port that is free again must not lead to the old container.
  rules_.unpublish(ports);
  for (const auto& key : keys) forget(key);
}

Result<> Manager::disconnect(const std::string& container_id, const std::string& network_id) {
  const Key key{container_id, network_id};
  std::vector<PublishedPort> ports;
  std::string interface;
  {
    std::lock_guard lock(mutex_);
    auto found = endpoints_.find(key);
    if (found == endpoints_.end() || found->second.busy) return {};
    found->second.busy = true;
    ports = found->second.ports;
    interface = found->second.interface;
  }
  auto route = sys::RouteSocket::open();
  auto gone = route ? route->delete_link(interface) : Result<>(std::unexpected(route.error()));
  if (!gone) {
    // Still attached, so the address stays its own: nothing else has been changed yet.
    std::lock_guard lock(mutex_);
    if (auto found = endpoints_.find(key); found != endpoints_.end()) found->second.busy = false;
    return gone;
  }
  rules_.unpublish(ports);
  forget(key);
  return {};
}

Result<> Manager::publish(Endpoint& endpoint, const std::vector<PortMapping>& mappings) {
  const Key key{endpoint.container_id, endpoint.network_id};
  auto address = parse_ipv4(endpoint.address);
  if (!address || mappings.empty()) return {};
  auto network = TRY(find(endpoint.network_id));
  auto ports = TRY(parse_ports(mappings, *address));
  TRY(ports_.take(ports));
  Rollback undo;
  undo.add([this, &ports] { ports_.release(ports); });
  {
    auto route = TRY(sys::RouteSocket::open());
    TRY(route.set_hairpin(endpoint.interface));
  }
  std::vector<PublishedPort> before;
  {
    std::lock_guard lock(mutex_);
    auto found = endpoints_.find(key);
    if (found == endpoints_.end() || found->second.busy)
      return fail(ErrorKind::kConflict, "container '%s' is not attached", endpoint.container_id.c_str());
    before = found->second.ports;
    found->second.ports.insert(found->second.ports.end(), ports.begin(), ports.end());
  }
  undo.add([&] { set_ports(key, before); });
  TRY(publish_at(*network, ports, true));
  undo.commit();
  for (size_t i = 0; i < ports.size(); ++i) {
    endpoint.ports.push_back(mappings[i]);
    endpoint.ports.back().host_port = ports[i].host_port;
    if (endpoint.ports.back().host_ip.empty()) endpoint.ports.back().host_ip = "0.0.0.0";
  }
  return {};
}

void Manager::unpublish(Endpoint& endpoint) {
  const Key key{endpoint.container_id, endpoint.network_id};
  std::vector<PublishedPort> ports;
  {
    std::lock_guard lock(mutex_);
    auto found = endpoints_.find(key);
    if (found == endpoints_.end() || found->second.busy) return;
    ports = std::move(found->second.ports);
    found->second.ports.clear();
  }
  rules_.unpublish(ports);
  ports_.release(ports);
  endpoint.ports.clear();
}

void Manager::unpublish(Endpoint& endpoint, const std::vector<PortMapping>& mappings) {
  const Key key{endpoint.container_id, endpoint.network_id};
  auto address = parse_ipv4(endpoint.address);
  if (!address) return;
  auto wanted = parse_ports(mappings, *address);
  if (!wanted) return;
  std::vector<PublishedPort> gone;
  {
    std::lock_guard lock(mutex_);
    auto found = endpoints_.find(key);
    if (found == endpoints_.end() || found->second.busy) return;
    std::erase_if(found->second.ports, [&](const PublishedPort& port) {
      bool is_one = std::find(wanted->begin(), wanted->end(), port) != wanted->end();
      if (is_one) gone.push_back(port);
      return is_one;
    });
  }
  rules_.unpublish(gone);
  ports_.release(gone);
  std::erase_if(endpoint.ports, [&](const PortMapping& port) {
    return std::find(mappings.begin(), mappings.end(), port) != mappings.end();
  });
}

Result<> Manager::set_default_route(Sandbox& sandbox, const std::string& gateway) {
  auto address = gateway.empty() ? std::optional<uint32_t>(0) : parse_ipv4(gateway);
  if (!address) return fail(ErrorKind::kInvalid, "gateway %s is not an IPv4 address", quoted(gateway).c_str());
  return sandbox.route.set_default_route(*address);
}

Result<NetworkManager::NameSockets> Manager::open_name_sockets(int netns) {
  std::optional<InnerSockets> opened;
  TRY(pool_.run_inside(netns, [&]() -> Result<> {
    opened = TRY(open_inner_sockets());
    return {};
  }));
  // From here on by the socket inside, whichever thread this is.
  TRY(redirect_names(*opened));
  return NameSockets{std::move(opened->udp), std::move(opened->tcp), std::move(opened->query)};
}

Result<> Manager::restore(const Endpoint& endpoint) {
  auto address = parse_ipv4(endpoint.address);
  if (!address || endpoint.prefix < 8 || endpoint.prefix > 30)
    return fail(ErrorKind::kInvalid, "endpoint of container '%s' has no valid address", endpoint.container_id.c_str());
  if (!sys::is_interface_name(endpoint.interface))
    return fail(ErrorKind::kInvalid, "endpoint of container '%s' has no valid interface",
                endpoint.container_id.c_str());
  auto network = TRY(find(endpoint.network_id));
  std::optional<Subnet> hint;
  if (auto gateway = parse_ipv4(endpoint.gateway)) hint = Subnet{*gateway, endpoint.prefix};
  auto ready = TRY(ensure_ready(*network, hint));
  const Key key{endpoint.container_id, endpoint.network_id};
  Rollback undo;
  TRY(reserve(key, network, address));
  undo.add([this, &key] { forget(key); });
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
  // Before the elements exist, so that finish_restore() and ensure_rules() know they are somebody's.
  set_ports(key, ports);
  TRY(publish_at(*network, ports, false));
  undo.commit();
  std::lock_guard lock(mutex_);
  auto& record = endpoints_[key];
  record.interface = endpoint.interface;
  record.busy = false;
  return {};
}

Result<> Manager::finish_restore() {
  if (!config_.enable_nat) return {};
  return rules_.retain(all_ports());
}

int Manager::rule_events() {
  if (!config_.enable_nat) return -1;
  auto opened = sys::open_nft_events();
  if (!opened) {
    log_warn("changes of the host's firewall are not watched: %s", opened.error().message.c_str());
    return -1;
  }
  events_ = std::move(*opened);
  return events_->fd();
}

bool Manager::rules_are_lost() {
  bool lost = false;
  for (int i = 0; i < kEventsAtOnce; ++i) {
    auto got = events_->receive_events(0, [&](const sys::NetlinkMessage& message) {
      lost = lost || sys::parse_nft_deleted_table(message) == config_.table;
    });
    if (got) continue;
    if (got.error().kind == ErrorKind::kTimeout) break;
    lost = true;  // some were dropped
    if (got.error().kind != ErrorKind::kExhausted) break;
  }
  return lost;
}

Result<> Manager::repair_rules() {
  std::lock_guard setup(setup_mutex_);
  auto networks = all_networks();
  if (std::none_of(networks.begin(), networks.end(), [](const NetworkPtr& network) { return network->ready; }))
    return {};
  if (TRY(rules_.exists())) return {};
  log_info("somebody removed the engine's firewall rules, writing them again");
  return ensure_rules();
}

BridgeInfo Manager::bridge_info() {
  std::lock_guard setup(setup_mutex_);
  BridgeInfo info;
  info.name = config_.bridge;
  info.mtu = config_.mtu;
  auto network = find(kDefaultNetwork);
  if (!network) return info;
  auto& subnet = (*network)->subnet;
  if (!subnet) {
    auto planned = plan_bridge_subnet(config_.bridge, (*network)->wanted, blocks_);
    if (!planned) {
      log_warn("choose the bridge's subnet: %s", planned.error().message.c_str());
      return info;
    }
    subnet = *planned;
  }
  info.subnet = subnet->text();
  info.gateway = format_ipv4(subnet->address);
  return info;
}

Result<> Manager::remove_all() {
  std::lock_guard setup(setup_mutex_);
  TRY(rules_.remove());
  for (const auto& network : all_networks()) {
    network->ready = false;
    TRY(remove_bridge(bridge_of(*network)));
  }
  return {};
}
}  // namespace

Result<NetworkManager::Attached> NetworkManager::attach_bridge(const std::string& container_id,
                                                               const std::vector<PortMapping>& ports,
                                                               const std::string& wanted_mac,
                                                               const std::string& wanted_address,
                                                               const std::vector<std::string>& link_local) {
  auto sandbox = TRY_CTX(create_sandbox(), "create network namespace");
  AttachRequest request;
  request.container_id = container_id;
  request.mac = wanted_mac;
  request.address = wanted_address;
  request.link_local = link_local;
  request.ports = ports;
  auto endpoint = TRY(attach(sandbox, request));
  return Attached{std::move(sandbox.netns), std::move(endpoint)};
}

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
  std::vector<SubnetBlock> blocks;
  for (const auto& block : config.blocks) {
    auto base = TRY_CTX(parse_subnet(block.base), "default address pool");
    if (base.prefix < 8 || block.size < base.prefix || block.size > 30)
      return fail(ErrorKind::kInvalid, "default address pool %s: size %d is not between its prefix and 30",
                  block.base.c_str(), block.size);
    blocks.push_back({base, block.size});
  }
  if (blocks.empty()) blocks = default_blocks();
  return std::make_unique<Manager>(std::move(config), wanted, std::move(blocks));
}

}  // namespace caisson::network
