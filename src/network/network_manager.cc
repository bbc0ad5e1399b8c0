// SPDX-License-Identifier: Apache-2.0
// Networks as such: their bridges, subnets and rules.
#include "network/network_manager.h"

#include <algorithm>

#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "network/mac_address.h"
#include "network/manager.h"
#include "sys/files.h"
#include "sys/nft.h"
#include "sys/rtnetlink.h"

namespace caisson::network {

namespace {
constexpr size_t kMaxTrusted = 64;
constexpr int kEventsAtOnce = 64;

bool is_table_name(std::string_view name) {
  if (name.empty() || name.size() > 64) return false;
  for (char c : name)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
      return false;
  return true;
}

}  // namespace

Manager::Manager(NetworkConfig config, Subnets wanted, std::vector<SubnetBlock> blocks,
                 std::unique_ptr<RelayClient> relay, std::unique_ptr<GateClient> gate,
                 std::unique_ptr<FirewalldClient> firewalld)
    : config_(std::move(config)),
      blocks_(std::move(blocks)),
      rules_(config_.table, config_.enable_nat6),
      pool_(static_cast<size_t>(config_.namespace_pool)),
      relay_(std::move(relay)),
      gate_(std::move(gate)),
      firewalld_(std::move(firewalld)) {
  if (gate_) rules_.set_gate(gate_->rule());
  rules_.set_direct_routing(config_.direct_routing);
  auto network = std::make_shared<Network>();
  network->spec.id = network->spec.name = kDefaultNetwork;
  network->spec.bridge = config_.bridge;
  network->spec.mtu = config_.mtu;
  network->spec.icc = config_.icc;
  network->spec.masquerade = config_.masquerade;
  network->spec.host_ip = config_.host_ip;
  network->spec.v4.range = config_.fixed_cidr;
  network->spec.v6.range = config_.fixed_cidr6;
  network->spec.v6.enabled = config_.ipv6;
  network->wanted = wanted;
  networks_[kDefaultNetwork] = std::move(network);
}

BridgeSpec Manager::bridge_of(const Network& network) const {
  BridgeSpec bridge{.name = network.spec.bridge, .mtu = network.spec.mtu, .owner = "caisson " + config_.table};
  bridge.foreign_ipv4 = network.spec.bridge_without_address;
  bridge.forward = config_.forward;
  for (size_t family : {1, 0}) {
    const auto& subnet = network.subnets[family];
    if (!subnet) continue;
    bridge.mac = mac_of(subnet->address);
    if (network.has_gateway(family) && (family || !bridge.foreign_ipv4)) bridge.addresses.push_back(*subnet);
  }
  return bridge;
}

BridgeRules Manager::rules_of(const Network& network) const {
  const auto& spec = network.spec;
  BridgeRules rules{spec.bridge, {}, spec.internal, spec.trusted_interfaces};
  for (size_t family : {0, 1}) {
    if (!network.subnets[family]) continue;
    const auto& plan = plan_of(spec, family);
    rules.subnets.push_back({*network.subnets[family], plan.mode, spec.masquerade, parse_ip(plan.source)});
  }
  return rules;
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

// With setup_mutex_.
Result<> Manager::plan_default(Network& network, const Subnets& hints) {
  for (size_t family : {0, 1})
    if (!network.subnets[family] && network.enabled(family))
      network.subnets[family] =
          TRY(plan_bridge_subnet(config_.bridge, family == 1, network.wanted[family], blocks_, hints[family]));
  return {};
}

// With setup_mutex_. What the networks of this engine have, and what the host's links and routes have.
Result<std::vector<IpSubnet>> Manager::taken_subnets(bool of_host) {
  std::vector<IpSubnet> used;
  for (const auto& network : all_networks()) {
    if (network->spec.id == kDefaultNetwork) TRY(plan_default(*network, {}));
    for (const auto& subnet : network->subnets)
      if (subnet) used.push_back(*subnet);
  }
  if (!of_host) return used;
  auto route = TRY(sys::RouteSocket::open());
  for (const auto& entry : TRY(route.list_addresses())) used.push_back(entry.address);
  for (const auto& entry : TRY(route.list_routes())) used.push_back(entry.destination);
  return used;
}

// With setup_mutex_.
Result<> Manager::plan_subnets(NetworkSpec& spec, Network& network, const std::vector<IpSubnet>& avoid) {
  for (size_t family : {0, 1}) {
    AddressPlan& plan = family ? spec.v6 : spec.v4;
    if (!plan.enabled) continue;
    if (!plan.source.empty()) TRY(parse_wanted(plan.source, family == 1));
    if (plan.mode == GatewayMode::kIsolated && !spec.internal)
      return fail(ErrorKind::kInvalid, "gateway mode 'isolated' is for internal networks only");
    auto used = TRY(taken_subnets(plan.subnet.empty()));
    used.insert(used.end(), avoid.begin(), avoid.end());
    network.subnets[family] = TRY(plan_subnet(plan, family == 1, used, blocks_));
    network.ipam[family] = TRY(make_ipam(plan, *network.subnets[family]));
  }
  return {};
}

Result<> Manager::add_network(NetworkSpec& spec, bool make, const std::vector<IpSubnet>& avoid) {
  if (!sys::is_interface_name(spec.bridge))
    return fail(ErrorKind::kInvalid, "invalid bridge name %s", quoted(spec.bridge).c_str());
  if (spec.mtu == 0) spec.mtu = config_.mtu;
  if (spec.mtu < 68 || spec.mtu > 65535)
    return fail(ErrorKind::kInvalid, "mtu %d is not between 68 and 65535", spec.mtu);
  if (!spec.v4.enabled && !spec.v6.enabled) return fail(ErrorKind::kInvalid, "IPv4 or IPv6 must be enabled");
  if (spec.trusted_interfaces.size() > kMaxTrusted)
    return fail(ErrorKind::kInvalid, "more than %zu trusted interfaces", kMaxTrusted);
  for (const auto& name : spec.trusted_interfaces)
    if (!sys::is_interface_name(name))
      return fail(ErrorKind::kInvalid, "%s is not a name of an interface", quoted(name).c_str());
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
  TRY(plan_subnets(spec, *network, avoid));
  network->spec = spec;
  Rollback undo;
  if (make) {
    network->bridge_index = TRY_CTX(ensure_bridge(bridge_of(*network)), "set up bridge '" + spec.bridge + "'");
    undo.add([this, &network] {
      if (auto gone = remove_bridge(bridge_of(*network)); !gone)
        log_debug("%s, ignoring", gone.error().message.c_str());
    });
    if (config_.enable_nat) {
      // Without a table it comes, with all bridges, at the first attachment.
      auto added = rules_.add_bridge(rules_of(*network));
      if (!added && added.error().err != ENOENT) return added;
    }
    network->ready = true;
    if (firewalld_) firewalld_->add(spec.bridge);
    undo.commit();
  }
  std::lock_guard lock(mutex_);
  if (make) bridges_[network->bridge_index] = network;
  networks_[spec.id] = std::move(network);
  return {};
}

Result<> Manager::remove_network(const std::string& id) {
  NetworkPtr network;
  {
    std::lock_guard setup(setup_mutex_);
    {
      std::lock_guard lock(mutex_);
      auto found = networks_.find(id);
      if (found == networks_.end() || id == kDefaultNetwork) return {};
      if (found->second->endpoints)
        return fail(ErrorKind::kConflict, "network %s has active endpoints", found->second->spec.name.c_str());
      network = std::move(found->second);
      networks_.erase(found);
      bridges_.erase(network->bridge_index);
    }
    if (config_.enable_nat && network->ready) {
      auto done = rules_.remove_bridge(rules_of(*network));
      // Something was missing: all of it is written anew, if there is a table at all.
      if (!done && TRY(rules_.exists())) TRY(install_rules());
    }
    network->ready = false;
    if (firewalld_) firewalld_->remove(network->spec.bridge);
  }
  // Takes the kernel tens of milliseconds, in which others go on.
  return remove_bridge(bridge_of(*network));
}

// With setup_mutex_.
Result<> Manager::install_rules() {
  std::vector<BridgeRules> bridges;
  for (const auto& network : all_networks())
    if (network->ready) bridges.push_back(rules_of(*network));
  return rules_.install(bridges);
}

// With setup_mutex_.
Result<> Manager::ensure_rules() {
  if (!config_.enable_nat || TRY(rules_.exists())) return {};
  // The first time, or somebody flushed the whole ruleset of the host.
  TRY(install_rules());
  return rules_.publish(all_ports(), false);
}

Result<Manager::Ready> Manager::ensure_ready(const NetworkPtr& known, const Subnets& hints) {
  std::lock_guard setup(setup_mutex_);
  Network& network = *known;
  // Removed meanwhile: its bridge must not come again.
  if (TRY(find(network.spec.id)) != known)
    return fail(ErrorKind::kNotFound, "network %s not found", network.spec.name.c_str());
  if (network.ready) {
    TRY(ensure_rules());
    return Ready{network.subnets, network.bridge_index};
  }
  const auto& spec = network.spec;
  if (spec.id == kDefaultNetwork) TRY(plan_default(network, hints));
  set_bridge(known, TRY_CTX(ensure_bridge(bridge_of(network)), "set up bridge '" + spec.bridge + "'"));
  network.ready = true;
  Rollback undo;
  undo.add([&network] { network.ready = false; });
  // Rewritten even if there: an engine of another release may have made it.
  if (config_.enable_nat) {
    TRY(install_rules());
    TRY(rules_.publish(all_ports(), false));
  }
  network.loopback_allowed = false;
  if (firewalld_) firewalld_->add(spec.bridge);
  plug_all_again(known);
  std::lock_guard lock(mutex_);
  for (size_t family : {0, 1})
    if (network.subnets[family] && !network.ipam[family])
      network.ipam[family] = TRY(make_ipam(plan_of(spec, family), *network.subnets[family]));
  undo.commit();
  return Ready{network.subnets, network.bridge_index};
}

Result<> Manager::finish_restore() {
  if (!config_.enable_nat) return {};
  if (relay_) relay_->sync();
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
  if (auto planned = plan_default(**network, {}); !planned) {
    log_warn("choose the bridge's subnet: %s", planned.error().message.c_str());
    return info;
  }
  for (size_t family : {0, 1}) {
    const auto& subnet = (*network)->subnets[family];
    if (!subnet) continue;
    (family ? info.subnet6 : info.subnet) = subnet->text();
    (family ? info.gateway6 : info.gateway) = subnet->address.text();
  }
  return info;
}

Result<> Manager::remove_all() {
  std::lock_guard setup(setup_mutex_);
  TRY(rules_.remove());
  for (const auto& network : all_networks()) {
    network->ready = false;
    if (firewalld_) firewalld_->remove(network->spec.bridge);
    TRY(remove_bridge(bridge_of(*network)));
  }
  return {};
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
  Subnets wanted;
  for (size_t family : {0, 1}) {
    const std::string& text = family ? config.bridge_address6 : config.bridge_address;
    if (text.empty()) continue;
    wanted[family] = TRY(parse_gateway(text));
    if (wanted[family]->v6() != (family == 1))
      return fail(ErrorKind::kInvalid, "bridge address %s is not of %s", quoted(text).c_str(),
                  family ? "IPv6" : "IPv4");
  }
  for (size_t family : {0, 1}) {
    const std::string& text = family ? config.fixed_cidr6 : config.fixed_cidr;
    if (text.empty()) continue;
    auto range = TRY_CTX(parse_ip_subnet(text), "fixed range of addresses");
    if (range.v6() != (family == 1) || (wanted[family] && !wanted[family]->contains(range.address)))
      return fail(ErrorKind::kInvalid, "the fixed range %s is not in the bridge's subnet", text.c_str());
    // As Docker has it: without an address of the bridge the range is its subnet.
    if (!wanted[family]) {
      IpSubnet subnet{range.network(), range.prefix};
      ++subnet.address.value;
      wanted[family] = TRY(parse_gateway(subnet.address.text() + format("/%d", subnet.prefix)));
    }
  }
  if (!config.host_ip.empty() && !parse_ip(config.host_ip))
    return fail(ErrorKind::kInvalid, "host address %s is not an IP address", quoted(config.host_ip).c_str());
  auto blocks = TRY(parse_blocks(config.blocks, config.ula_seed));
  std::unique_ptr<RelayClient> relay;
  // A host without IPv6 has no clients of it.
  auto ipv6_off = sys::read_file("/proc/sys/net/ipv6/conf/lo/disable_ipv6", 16);
  if (!config.relay_program.empty() && config.enable_nat && config.enable_nat6 && ipv6_off && trim(*ipv6_off) == "0")
    relay = TRY(RelayClient::create({config.relay_program, config.relay_socket}));
  std::unique_ptr<GateClient> gate;
  if (config.honor_firewall && !config.enable_nat)
    return fail(ErrorKind::kInvalid, "--firewall=honor and --iptables=false contradict each other");
  if (config.honor_firewall)
    gate = TRY(GateClient::create({config.gate_program, config.gate_socket, config.table}));
  else if (!config.gate_socket.empty())
    end_gate(config.gate_socket);
  std::unique_ptr<FirewalldClient> firewalld;
  if (!config.firewalld_program.empty() && config.enable_nat)
    firewalld = TRY(FirewalldClient::create(config.firewalld_program));
  return std::make_unique<Manager>(std::move(config), wanted, std::move(blocks), std::move(relay), std::move(gate),
                                   std::move(firewalld));
}

}  // namespace caisson::network
