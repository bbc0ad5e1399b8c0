// SPDX-License-Identifier: Apache-2.0
// Published ports of containers: from mappings to host ports, guards and rules, and back.
#include <netinet/in.h>

#include <algorithm>

#include "base/log.h"
#include "base/rollback.h"
#include "network/manager.h"
#include "sys/rtnetlink.h"

namespace caisson::network {

namespace {
constexpr size_t kMaxMappings = 65535;  // of one container
}  // namespace

std::vector<PublishedPort> Manager::all_ports() {
  std::lock_guard lock(mutex_);
  std::vector<PublishedPort> all;
  for (const auto& [id, record] : endpoints_) all.insert(all.end(), record.ports.begin(), record.ports.end());
  return all;
}

void Manager::set_ports(const Key& key, std::vector<PublishedPort> ports) {
  std::lock_guard lock(mutex_);
  if (auto found = endpoints_.find(key); found != endpoints_.end()) found->second.ports = std::move(ports);
}

Result<std::vector<PublishedPort>> Manager::parse_ports(const std::vector<PortMapping>& mappings,
                                                        const Network& network, const Addresses& addresses) const {
  if (!mappings.empty() && !config_.enable_nat)
    return fail(ErrorKind::kUnsupported, "publishing ports needs NAT, which is turned off");
  if (mappings.size() > kMaxMappings) return fail(ErrorKind::kInvalid, "more than %zu published ports", kMaxMappings);
  const auto& spec = network.spec;
  PublishContext context{addresses[0], addresses[1], spec.v4.mode, spec.v6.mode};
  if (!config_.enable_nat6) context.address6.reset();
  context.host_ip = spec.host_ip.empty() ? config_.host_ip : spec.host_ip;
  context.relay = relay_ != nullptr && config_.enable_nat6;
  context.trusted = config_.direct_routing || !spec.trusted_interfaces.empty();
  std::vector<PublishedPort> ports;
  for (const auto& mapping : mappings) {
    auto parsed = TRY(parse_mapping(mapping, context));
    ports.insert(ports.end(), parsed.begin(), parsed.end());
  }
  return ports;
}

// What the relay is told of a port.
RelayEntry relay_entry(const PublishedPort& port) {
  // Of TCP nothing but ::1 comes in where the kernel leads the rest to the container itself.
  bool whole = port.relayed() || port.protocol == IPPROTO_UDP;
  return {port.protocol,          whole ? port.host_address : IpAddress{true, 1},
          port.host_port,         port.count,
          port.container_address, port.container_port};
}

Result<> Manager::take_ports(const Key& key, std::vector<PublishedPort>& ports) {
  std::string holder;
  auto taken = ports_.take(ports, key.container_id, &holder);
  auto name = taken || holder.empty() || !config_.name_of ? "" : config_.name_of(holder);
  if (!name.empty()) taken.error().message += " to container " + name;
  return taken;
}

Result<> Manager::relay_ports(const std::vector<PublishedPort>& ports) {
  if (!relay_) return {};
  for (const auto& port : ports) {
    if (!port.has_relayed_part()) continue;
    rules_.set_relay_port(TRY(relay_->port()));
    // Its guards are what the relay receives by: nobody else could bind those ports.
    auto sockets = port.protocol == IPPROTO_UDP ? ports_.guards_of(port) : std::vector<UniqueFd>();
    auto added = relay_->add(relay_entry(port), std::move(sockets));
    // Some clients of IPv6 are no reason to refuse all others the port.
    if (!added && added.error().kind == ErrorKind::kExhausted)
      log_warn("%s: not published to IPv6", added.error().message.c_str());
    else
      TRY(std::move(added));
  }
  return {};
}

Result<> Manager::publish_at(Network& network, const std::vector<PublishedPort>& ports, bool anew) {
  if (ports.empty()) return {};
  {
    std::lock_guard setup(setup_mutex_);
    if (!network.loopback_allowed) TRY(allow_loopback_publishing(network.spec.bridge));
    network.loopback_allowed = true;
  }
  auto done = relay_ports(ports);
  if (done) done = rules_.publish(ports, anew);
  if (!done && done.error().err == ENOENT) {
    {
      std::lock_guard setup(setup_mutex_);
      TRY(ensure_rules());
    }
    done = rules_.publish(ports, anew);
  }
  if (!done) unpublish_at(ports);
  return done;
}

void Manager::unpublish_at(const std::vector<PublishedPort>& ports) {
  rules_.unpublish(ports);
  if (!relay_) return;
  for (const auto& port : ports)
    if (port.has_relayed_part()) relay_->remove(relay_entry(port));
}

Result<> Manager::publish(Endpoint& endpoint, const std::vector<PortMapping>& mappings) {
  const Key key{endpoint.container_id, endpoint.network_id};
  if (mappings.empty()) return {};
  auto network = TRY(find(endpoint.network_id));
  Addresses addresses{parse_ip(endpoint.address), parse_ip(endpoint.address6)};
  auto ports = TRY(parse_ports(mappings, *network, addresses));
  TRY(take_ports(key, ports));
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
  for (const auto& port : ports) endpoint.ports.push_back(mapping_of(port));
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
  unpublish_at(ports);
  ports_.release(ports);
  endpoint.ports.clear();
}

void Manager::unpublish(Endpoint& endpoint, const std::vector<PortMapping>& mappings) {
  const Key key{endpoint.container_id, endpoint.network_id};
  auto network = find(endpoint.network_id);
  if (!network) return;
  auto wanted = parse_ports(mappings, **network, {parse_ip(endpoint.address), parse_ip(endpoint.address6)});
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
  unpublish_at(gone);
  ports_.release(gone);
  std::erase_if(endpoint.ports, [&](const PortMapping& port) {
    return std::find(mappings.begin(), mappings.end(), port) != mappings.end();
  });
}

}  // namespace caisson::network
