// SPDX-License-Identifier: Apache-2.0
// Containers on networks: addresses, veth pairs, routes, taking back what an earlier engine made.
#include <algorithm>
#include <cerrno>

#include "base/ids.h"
#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "network/endpoint_settings.h"
#include "network/mac_address.h"
#include "network/manager.h"
#include "network/name_sockets.h"
#include "sys/files.h"

namespace caisson::network {

namespace {
constexpr int kReadyTimeoutMs = 5'000;
constexpr int kBridgePorts = 1023;  // BR_MAX_PORTS of net/bridge/br_private.h, less the number 0

Result<IpSubnet> parse_link_local(const std::string& text) {
  auto address = parse_ip(text);
  if (address && !address->v6 && address->value >> 16 == 0xa9fe) return IpSubnet{*address, 16};
  if (address && address->v6 && address->value >> 64 == Uint128{0xfe80} << 48) return IpSubnet{*address, 64};
  return fail(ErrorKind::kInvalid, "address %s is not a link-local address", quoted(text).c_str());
}

}  // namespace

Result<std::optional<IpAddress>> parse_wanted(const std::string& text, bool v6) {
  if (text.empty()) return std::optional<IpAddress>();
  auto address = parse_ip(text);
  if (!address || address->v6 != v6)
    return fail(ErrorKind::kInvalid, "address %s is not an %s address", quoted(text).c_str(), v6 ? "IPv6" : "IPv4");
  return address;
}

size_t Manager::endpoints_on(const std::string& network_id) {
  std::lock_guard lock(mutex_);
  auto found = networks_.find(network_id);
  return found == networks_.end() ? 0 : found->second->endpoints;
}

Result<Addresses> Manager::reserve(const Key& key, const NetworkPtr& network, const Addresses& wanted) {
  std::lock_guard lock(mutex_);
  if (!networks_.contains(key.network_id))  // removed meanwhile
    return fail(ErrorKind::kNotFound, "network %s not found", network->spec.name.c_str());
  if (endpoints_.contains(key))
    return fail(ErrorKind::kConflict, "container '%s' is attached already", key.container_id.c_str());
  Addresses taken;
  Rollback undo;
  undo.add([&] {
    for (size_t family : {0, 1})
      if (taken[family]) network->ipam[family]->release(*taken[family]);
  });
  for (size_t family : {0, 1}) {
    Ipam* ipam = network->ipam[family].get();
    if (!ipam && wanted[family])
      return fail(ErrorKind::kInvalid, "network %s has no %s addresses", network->spec.name.c_str(),
                  family ? "IPv6" : "IPv4");
    if (!ipam) continue;
    if (wanted[family]) TRY(ipam->take_wanted(*wanted[family]));
    taken[family] = wanted[family] ? *wanted[family] : TRY(ipam->take());
  }
  undo.commit();
  auto& record = endpoints_[key];
  record.network = network;
  record.addresses = taken;
  ++network->endpoints;
  return taken;
}

void Manager::forget(const Key& key) {
  std::vector<PublishedPort> ports;
  {
    std::lock_guard lock(mutex_);
    auto found = endpoints_.find(key);
    if (found == endpoints_.end()) return;
    ports = std::move(found->second.ports);
    for (size_t family : {0, 1})
      if (const auto& address = found->second.addresses[family]) found->second.network->ipam[family]->release(*address);
    --found->second.network->endpoints;
    endpoints_.erase(found);
  }
  ports_.release(ports);
}

// IPv6 is off for links of a new namespace, see sys/netns.h. Addresses are ours alone, so nobody is asked about them.
Result<> Manager::allow_ipv6(const Sandbox& space, const std::string& interface) {
  const std::string conf = "/proc/sys/net/ipv6/conf/" + interface + "/";
  return pool_.run_inside(space.netns.get(), [&]() -> Result<> {
    for (auto [key, value] : {std::pair{"accept_ra", "0"}, {"accept_dad", "0"}, {"disable_ipv6", "0"}})
      TRY_CTX(sys::write_file(conf + key, value), "turn on IPv6 in the container");
    return {};
  });
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
  auto plugged = route.create_veth(request);
  if (!plugged && plugged.error().err == EXFULL)
    return fail(ErrorKind::kExhausted, "bridge '%s' is full: it has %d ports, the most that the kernel allows",
                network.spec.bridge.c_str(), kBridgePorts);
  TRY(plugged);
  Rollback undo;
  undo.add([&] {
    if (auto gone = route.delete_link(request.name); !gone) log_debug("%s, ignoring", gone.error().message.c_str());
  });
  sys::InterfaceSetup setup{asked.inside, inside.link_local, {}};
  bool v6 = std::any_of(inside.link_local.begin(), inside.link_local.end(),
                        [](const IpSubnet& address) { return address.v6(); });
  for (size_t family : {0, 1}) {
    if (!inside.addresses[family]) continue;
    const IpSubnet& subnet = *ready.subnets[family];
    setup.addresses.push_back({*inside.addresses[family], subnet.prefix});
    bool routed = family ? asked.default_route6 : asked.default_route;
    if (routed && !network.spec.internal && network.has_gateway(family)) setup.gateways.push_back(subnet.address);
    v6 = v6 || family;
  }
  if (v6) TRY(allow_ipv6(space, asked.inside));
  TRY(space.route.configure(setup));
  // Each end limits what it sends: to the container here, from it inside, where its programs wait instead of losing
  // packets.
  if (asked.limit_in) TRY(route.limit_rate(request.name, asked.limit_in));
  if (asked.limit_out) TRY(space.route.limit_rate(asked.inside, asked.limit_out));
  undo.commit();
  return request.name;
}

Result<Endpoint> Manager::attach(Sandbox& sandbox, const AttachRequest& request) {
  Addresses fixed{TRY(parse_wanted(request.address, false)), TRY(parse_wanted(request.address6, true))};
  if (!sys::is_interface_name(request.inside))
    return fail(ErrorKind::kInvalid, "%s is not a name of an interface", quoted(request.inside).c_str());
  Inside inside;
  std::optional<sys::MacAddress> mac;
  if (!request.mac.empty()) {
    mac = parse_mac(request.mac);
    if (!mac || (*mac)[0] & 1 || *mac == sys::MacAddress{})
      return fail(ErrorKind::kInvalid, "%s is not a MAC address of a station", quoted(request.mac).c_str());
  }
  for (const auto& text : request.link_local) inside.link_local.push_back(TRY(parse_link_local(text)));
  auto network = TRY(find(request.network_id));
  auto ready = TRY(ensure_ready(network, {}));
  const Key key{request.container_id, request.network_id};
  auto settings = TRY(parse_settings(request.sysctls, request.inside));
  Rollback undo;
  inside.addresses = TRY(reserve(key, network, fixed));
  undo.add([this, &key] { forget(key); });
  inside.mac = mac ? *mac : mac_of(inside.addresses[0] ? *inside.addresses[0] : *inside.addresses[1]);

  auto ports = TRY(parse_ports(request.ports, *network, inside.addresses));
  TRY(take_ports(key, ports));
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
    ready = TRY(ensure_ready(network, {}));
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
  undo.add([this, ports] { unpublish_at(ports); });
  TRY(route.wait_ready({*link, network->spec.bridge}, kReadyTimeoutMs));

  Endpoint endpoint;
  endpoint.container_id = request.container_id;
  endpoint.network_id = request.network_id;
  endpoint.interface = *link;
  endpoint.inside = request.inside;
  endpoint.mac = format_mac(inside.mac);
  for (size_t family : {0, 1}) {
    if (!inside.addresses[family]) continue;
    const IpSubnet& subnet = *ready.subnets[family];
    (family ? endpoint.address6 : endpoint.address) = inside.addresses[family]->text();
    (family ? endpoint.prefix6 : endpoint.prefix) = subnet.prefix;
    if (!network->spec.internal && network->has_gateway(family))
      (family ? endpoint.gateway6 : endpoint.gateway) = subnet.address.text();
  }
  for (const auto& port : ports) endpoint.ports.push_back(mapping_of(port));
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
  unpublish_at(ports);
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
  unpublish_at(ports);
  forget(key);
  return {};
}

Result<> Manager::set_default_route(Sandbox& sandbox, const std::string& gateway) {
  return sandbox.route.set_default_route(TRY(parse_wanted(gateway, false)).value_or(any_ip(false)));
}

Result<> Manager::set_default_route6(Sandbox& sandbox, const std::string& gateway) {
  return sandbox.route.set_default_route(TRY(parse_wanted(gateway, true)).value_or(any_ip(true)));
}

Result<NetworkManager::NameSockets> Manager::open_name_sockets(int netns, QueryFamilies families) {
  std::optional<InnerSockets> opened;
  TRY(pool_.run_inside(netns, [&]() -> Result<> {
    opened = TRY(open_inner_sockets(families.v4, families.v6));
    return {};
  }));
  // From here on by the socket inside, whichever thread this is.
  TRY(redirect_names(*opened));
  return NameSockets{std::move(opened->udp), std::move(opened->tcp), std::move(opened->query)};
}

Result<> Manager::restore(const Endpoint& endpoint) {
  auto network = TRY(find(endpoint.network_id));
  Addresses addresses;
  Subnets hints;
  for (size_t family : {0, 1}) {
    const std::string& text = family ? endpoint.address6 : endpoint.address;
    int prefix = family ? endpoint.prefix6 : endpoint.prefix;
    if (text.empty()) continue;
    addresses[family] = parse_ip(text);
    if (!addresses[family] || prefix < 1 || prefix > addresses[family]->width())
      return fail(ErrorKind::kInvalid, "endpoint of container '%s' has no valid address",
                  endpoint.container_id.c_str());
    if (auto gateway = parse_ip(family ? endpoint.gateway6 : endpoint.gateway))
      hints[family] = IpSubnet{*gateway, prefix};
  }
  if (!addresses[0] && !addresses[1])
    return fail(ErrorKind::kInvalid, "endpoint of container '%s' has no valid address", endpoint.container_id.c_str());
  if (!sys::is_interface_name(endpoint.interface))
    return fail(ErrorKind::kInvalid, "endpoint of container '%s' has no valid interface",
                endpoint.container_id.c_str());
  auto ready = TRY(ensure_ready(network, hints));
  const Key key{endpoint.container_id, endpoint.network_id};
  Rollback undo;
  addresses = TRY(reserve(key, network, addresses));
  undo.add([this, &key] { forget(key); });
  auto ports = TRY(parse_ports(endpoint.ports, *network, addresses));
  for (const auto& port : ports)
    if (!port.host_port && !port.routed)
      return fail(ErrorKind::kInvalid, "a published port of container '%s' has no host port",
                  endpoint.container_id.c_str());
  // Needed when the bridge had to be made again.
  auto plugged = plug_again(*network, ready.bridge_index, endpoint.interface, !ports.empty());
  if (!plugged && plugged.error().err == ENODEV)
    return fail(ErrorKind::kNotFound, "link '%s' of container '%s' is gone", endpoint.interface.c_str(),
                endpoint.container_id.c_str());
  if (!plugged) return plugged;
  TRY(ports_.take_back(ports, key.container_id));
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

}  // namespace caisson::network
