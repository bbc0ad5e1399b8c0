// SPDX-License-Identifier: Apache-2.0
#include "engine/network_links.h"

#include <fcntl.h>

#include <algorithm>
#include <set>

#include "base/ids.h"
#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "engine/links.h"
#include "engine/network_gateways.h"
#include "engine/network_plan.h"
#include "engine/networks.h"
#include "engine/port_plan.h"
#include "network/dns_client.h"
#include "sys/files.h"
#include "sys/process.h"

namespace caisson::engine {

namespace {

constexpr size_t kMaxPerContainer = 64;  // of one container

bool is_user_network(const std::string& name) { return name != "bridge" && name != "host" && name != "none"; }

const spec::EndpointSettings* settings_of(const ContainerRecord& record, const std::string& network) {
  auto found = record.networking.endpoints.find(network);
  return found == record.networking.endpoints.end() || !found->second ? nullptr : &*found->second;
}

Result<network::AttachRequest> request_for(const ContainerRecord& record, const NetworkRecord& network,
                                           std::string inside) {
  network::AttachRequest request;
  request.container_id = record.id;
  request.network_id = network.manager_id();
  request.inside = std::move(inside);
  request.default_route = request.default_route6 = false;
  if (network.name == record.host_config.network_mode || record.networking.endpoints.size() < 2)
    request.mac = record.config.mac_address;
  const auto* settings = settings_of(record, network.name);
  if (!settings) return request;
  if (!settings->mac_address.empty()) request.mac = settings->mac_address;
  auto options = TRY(endpoint_options_of(settings->driver_opts));
  if (!options.interface.empty()) request.inside = std::move(options.interface);
  request.sysctls = std::move(options.sysctls);
  request.limit_in = options.limit_in;
  request.limit_out = options.limit_out;
  if (settings->ipam_config) {
    request.address = settings->ipam_config->ipv4_address;
    request.address6 = settings->ipam_config->ipv6_address;
    request.link_local = settings->ipam_config->link_local_ips;
  }
  return request;
}

StoredEndpoint stored_of(const network::Endpoint& endpoint, const NetworkRecord& network) {
  auto stored = store_endpoint(endpoint);
  stored.network = network.name;
  stored.network_id = network.id;
  stored.driver = network.driver;
  stored.endpoint_id = random_id();
  return stored;
}

// The same request, carried out by whoever has networks of that driver.
Result<StoredEndpoint> attach_one(const Services& services, const ContainerRecord& record, const NetworkRecord& network,
                                  network::Sandbox& sandbox, const network::AttachRequest& request) {
  if (network::is_lan_driver(network.driver)) return stored_of(TRY(services.lans.attach(sandbox, request)), network);
  if (network.driver != kCniDriver) return stored_of(TRY(services.network.attach(sandbox, request)), network);
  if (!request.sysctls.empty() || !request.link_local.empty())
    return fail(ErrorKind::kUnsupported, "network %s: CNI plugins take neither sysctls nor link-local addresses",
                network.name.c_str());
  if (request.limit_in || request.limit_out)
    return fail(ErrorKind::kUnsupported, "network %s: limits of bandwidth on it are the CNI plugin 'bandwidth''s",
                network.name.c_str());
  CniRequest asked{record.id,           record.name, network.name, request.inside,
                   sandbox.netns.get(), {},          request.mac,  request.ports};
  for (const auto& address : {request.address, request.address6})
    if (!address.empty()) asked.addresses.push_back(address);
  auto made = TRY(services.cni.attach(asked));
  auto stored = stored_of(made.endpoint, network);
  stored.name_servers = std::move(made.name_servers);
  stored.dns_search = std::move(made.search);
  return stored;
}

// Plugins append their default route to the one there is, which makes a route of two ways.
Result<> restore_default_route(const Services& services, network::Sandbox& sandbox, const std::string& gateway) {
  constexpr int kMost = 4;
  for (int i = 0; i < kMost; ++i) TRY(services.network.set_default_route(sandbox, ""));
  if (gateway.empty()) return {};
  return services.network.set_default_route(sandbox, gateway);
}

Result<> detach_one(const Services& services, const ContainerRecord& record, network::Sandbox& sandbox,
                    const NetworkRecord& network) {
  if (network::is_lan_driver(network.driver))
    return services.lans.disconnect(sandbox, load_endpoint(record.id, *record.endpoint_in(network.id)));
  if (network.driver == kCniDriver) return services.cni.disconnect(record.id, network.name);
  return services.network.disconnect(record.id, network.manager_id());
}

std::string free_interface(const ContainerRecord& record, const NetworkRecord& network) {
  for (int number = 0;; ++number) {
    std::string name = interface_prefix(network) + std::to_string(number);
    if (std::none_of(record.endpoints.begin(), record.endpoints.end(),
                     [&](const StoredEndpoint& endpoint) { return endpoint.inside == name; }))
      return name;
  }
}

Result<UniqueFd> open_netns(const ContainerRecord& record) {
  auto netns = sys::open_file(format("/proc/%lld/ns/net", static_cast<long long>(record.pid)), O_RDONLY);
  // Looked at after it was opened: a process that has the number by now is another's.
  if (!netns || sys::process_start_time(static_cast<pid_t>(record.pid)).value_or(0) !=
                    static_cast<uint64_t>(record.pid_start_time))
    return fail(ErrorKind::kDenied, "container %s is not running", record.id.c_str());
  return netns;
}

Result<network::Sandbox> sandbox_of(const Services& services, const ContainerRecord& record) {
  return services.network.open_sandbox(TRY(open_netns(record)).get());
}

// --- names ----------------------------------------------------------------------------------------------

std::optional<std::vector<network::DnsUpstream>> own_upstreams(const Services& services,
                                                               const ContainerRecord& record) {
  auto servers = record.host_config.dns.empty() ? services.options.dns : record.host_config.dns;
  for (const auto& endpoint : record.endpoints)
    if (record.host_config.dns.empty())
      servers.insert(servers.begin(), endpoint.name_servers.begin(), endpoint.name_servers.end());
  if (servers.empty()) return std::nullopt;
  std::vector<network::DnsUpstream> upstreams;
  for (const auto& server : servers) upstreams.push_back({server});
  return upstreams;
}

// Has it one for queries of other names? ipvlan in its routed modes has no gateway to tell it by.
bool has_way_out(const Services& services, const StoredEndpoint& endpoint) {
  if (!endpoint.gateway.empty() || !endpoint.gateway6.empty() || !endpoint.name_servers.empty()) return true;
  if (endpoint.driver != "ipvlan") return false;
  auto network = services.networks.find(endpoint.network_id);
  return network && !(*network)->internal;
}

network::DnsScope scope_of(const Services& services, const ContainerRecord& record) {
  network::DnsScope scope;
  scope.id = record.id;
  scope.upstreams = own_upstreams(services, record);
  scope.forward = false;
  for (const auto& endpoint : record.endpoints) {
    if (has_way_out(services, endpoint)) scope.forward = true;
    if (!is_user_network(endpoint.network)) continue;
    network::DnsScopeNetwork network{endpoint.network_id, {}};
    if (const auto* settings = settings_of(record, endpoint.network))
      for (const auto& text : settings->links)
        if (auto link = parse_link(text)) network.links[link->alias] = link->name;
    scope.networks.push_back(std::move(network));
  }
  for (const auto& option : record.host_config.dns_options)
    if (option.starts_with("ndots:") && option != "ndots:0") scope.ndots_set = true;
  return scope;
}

Result<> announce(const Services& services, const ContainerRecord& record, const StoredEndpoint& endpoint) {
  if (!is_user_network(endpoint.network)) return {};
  network::DnsEndpoint entry;
  entry.network_id = endpoint.network_id;
  entry.network_name = endpoint.network;
  entry.id = endpoint.endpoint_id;
  entry.name = record.name;
  const auto* settings = settings_of(record, endpoint.network);
  auto names = dns_names(record, settings ? *settings : spec::EndpointSettings{});
  entry.aliases.assign(names.begin() + 1, names.end());
  for (const auto& address : {endpoint.address, endpoint.address6})
    if (!address.empty()) entry.addresses.push_back(address);
  return services.names.add(std::move(entry));
}

// Of a family that the container has not, the host asks. Without a way out it may still have servers beside it.
network::NetworkManager::QueryFamilies query_families(const ContainerRecord& record) {
  network::NetworkManager::QueryFamilies families{false, false};
  for (const auto& endpoint : record.endpoints) {
    families.v4 = families.v4 || !endpoint.address.empty();
    families.v6 = families.v6 || !endpoint.address6.empty();
  }
  return families;
}

Result<> serve_names(const Services& services, const ContainerRecord& record, int netns) {
  auto families = query_families(record);
  auto sockets = TRY(services.network.open_name_sockets(netns, families));
  network::DnsSockets given{std::move(sockets.udp), std::move(sockets.tcp), std::move(sockets.query)};
  return services.names.attach(scope_of(services, record), std::move(given));
}

// After the networks of a running container changed; `before`: the families it had then.
Result<> renew_names(const Services& services, const ContainerRecord& record, int netns,
                     network::NetworkManager::QueryFamilies before) {
  if (!on_user_network(record)) {
    services.names.detach(record.id);
    return {};
  }
  if (auto now = query_families(record); now != before) {
    // New sockets; those of a kernel without nf_tables have the place to themselves and stay.
    auto served = serve_names(services, record, netns);
    if (served) return {};
    log_debug("container %s: %s, going on with the old sockets", record.name.c_str(), served.error().message.c_str());
  }
  auto changed = services.names.change_scope(scope_of(services, record));
  if (!changed && changed.error().kind == ErrorKind::kNotFound) return serve_names(services, record, netns);
  return changed;
}

// --- files ----------------------------------------------------------------------------------------------

HostFileFacts facts_of(const ContainerRecord& record) {
  HostFileFacts names;
  for (const auto& endpoint : record.endpoints) {
    for (const auto& address : {endpoint.address, endpoint.address6})
      if (!address.empty()) names.addresses.push_back(address);
    names.search.insert(names.search.end(), endpoint.dns_search.begin(), endpoint.dns_search.end());
    if (endpoint.is_gateway6) names.gateway6 = endpoint.gateway6;
  }
  names.gateway = record.main_endpoint().gateway;
  names.embedded_names = on_user_network(record);
  return names;
}

// --default-gateway: of the default network alone.
void name_own_gateways(const Services& services, StoredEndpoint& endpoint) {
  const auto& own = services.options.network;
  if (endpoint.network != network::kDefaultNetwork) return;
  if (!own.default_gateway.empty() && !endpoint.gateway.empty()) endpoint.gateway = own.default_gateway;
  if (!own.default_gateway6.empty() && !endpoint.gateway6.empty()) endpoint.gateway6 = own.default_gateway6;
}

Result<> use_own_gateways(const Services& services, ContainerRecord& record, network::Sandbox& sandbox) {
  for (auto& endpoint : record.endpoints) {
    auto before = endpoint;
    name_own_gateways(services, endpoint);
    if (endpoint.is_gateway && endpoint.gateway != before.gateway)
      TRY_CTX(services.network.set_default_route(sandbox, endpoint.gateway), "the engine's default gateway");
    if (endpoint.is_gateway6 && endpoint.gateway6 != before.gateway6)
      TRY_CTX(services.network.set_default_route6(sandbox, endpoint.gateway6), "the engine's default gateway");
  }
  return {};
}

// Where ports of a network are published that name no address.
std::string host_ip_of(const Services& services, const NetworkRecord& network) {
  auto spec = network_spec_of(network);
  return spec && !spec->host_ip.empty() ? spec->host_ip : services.options.network.host_ip;
}

}  // namespace

bool has_networks(const spec::HostConfig& host) {
  return host.network_mode != "host" && host.network_mode != "none" && !host.network_mode.starts_with("container:") &&
         !host.network_mode.starts_with("ns:");
}

std::string joined_namespace(const spec::HostConfig& host) {
  return host.network_mode.starts_with("ns:") ? host.network_mode.substr(3) : "";
}

bool on_user_network(const ContainerRecord& record) {
  return std::any_of(record.endpoints.begin(), record.endpoints.end(),
                     [](const StoredEndpoint& endpoint) { return is_user_network(endpoint.network); });
}

Result<> resolve_networks(ContainerRecord& record, NetworkStore& networks) {
  const auto& host = record.host_config;
  auto asked = std::move(record.networking.endpoints);
  record.networking.endpoints.clear();
  if (host.network_mode.starts_with("container:") || host.network_mode.starts_with("ns:")) {
    if (host.network_mode.starts_with("ns:")) asked.erase(host.network_mode);  // clients take it for a network's name
    if (!asked.empty())
      return fail(ErrorKind::kInvalid, "container cannot be connected to network endpoints: network mode is %s",
                  host.network_mode.substr(0, 80).c_str());
    return {};
  }
  auto& main = asked.try_emplace(host.network_mode).first->second;
  if (is_user_network(host.network_mode) && !host.links.empty()) {
    // What clients ask for the container as a whole means its own network.
    if (!main) main.emplace();
    for (const auto& link : host.links)
      if (std::find(main->links.begin(), main->links.end(), link) == main->links.end()) main->links.push_back(link);
  }
  if (asked.size() > kMaxPerContainer) return fail(ErrorKind::kInvalid, "more than %zu networks", kMaxPerContainer);
  for (auto& [name, settings] : asked) {
    auto network = networks.find(name);
    // 404 on this route means the image, and clients would go and pull it.
    if (!network) return fail(ErrorKind::kInvalid, "%s", network.error().message.c_str());
    if (asked.size() > 1 && ((*network)->driver == "host" || (*network)->driver == "null"))
      return fail(ErrorKind::kInvalid,
                  "conflicting options: cannot connect a container with network mode %s to other networks",
                  (*network)->name.c_str());
    if ((*network)->config_only)
      return fail(ErrorKind::kDenied, "cannot attach a container to the config-only network %s",
                  (*network)->name.c_str());
    if (settings) {
      settings->network_id = settings->endpoint_id = settings->gateway = settings->ip_address = "";
      settings->ip_prefix_len = 0;
      settings->dns_names.clear();
      TRY(check_endpoint_addresses(**network, *settings));
    }
    if (name == host.network_mode && name != (*network)->name) record.host_config.network_mode = (*network)->name;
    if (!record.networking.endpoints.emplace((*network)->name, std::move(settings)).second)
      return fail(ErrorKind::kInvalid, "network %s is named twice", (*network)->name.c_str());
  }
  return {};
}

std::vector<std::string> network_order(const ContainerRecord& record) {
  const auto& mode = record.host_config.network_mode;
  std::vector<std::string> order;
  for (const auto& [name, settings] : record.networking.endpoints)
    if (name == mode)
      order.insert(order.begin(), name);
    else
      order.push_back(name);
  if (order.empty() && has_networks(record.host_config)) order.push_back(mode);
  return order;
}

std::vector<std::string> dns_names(const ContainerRecord& record, const spec::EndpointSettings& settings) {
  std::vector<std::string> names{record.name};
  auto add = [&](const std::string& name) {
    if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const auto& alias : settings.aliases) add(alias);
  add(record.id.substr(0, 12));
  add(record.config.hostname);
  return names;
}

Result<UniqueFd> attach_networks(const Services& services, ContainerRecord& record,
                                 const std::vector<network::PortMapping>& ports, HostFileFacts& names) {
  record.endpoints.clear();
  services.cni.detach(record.id);  // what an earlier run could not have undone
  std::vector<NetworkRecordPtr> networks;
  for (const auto& name : network_order(record)) networks.push_back(TRY(services.networks.find(name)));
  // The gateways are chosen beforehand, so that ports and routes are set up in one go.
  std::vector<GatewayCandidate> candidates;
  for (const auto& network : networks)
    candidates.push_back({network->name, network->enable_ipv4 && !network->internal,
                          network->enable_ipv6 && !network->internal, gateway_priority(record, network->name)});
  auto choice = choose_gateways(candidates);
  bool two = choice.v4 && choice.v6 && choice.v4 != choice.v6;
  if (!choice.v4 && !choice.v6) choice.v4 = 0;
  size_t main = choice.v4 ? *choice.v4 : *choice.v6;
  PortShares shares{ports, {}};
  if (two) shares = share_ports(ports, host_ip_of(services, *networks[main]));
  auto sandbox = TRY_CTX(services.network.create_sandbox(), "create network namespace");
  Rollback undo;
  undo.add([&] {
    forget_names(services, record);
    services.network.detach(record.id);
    services.lans.detach(record.id);
    services.cni.detach(record.id);
  });
  for (size_t i = 0; i < networks.size(); ++i) {
    auto request = TRY(request_for(record, *networks[i], free_interface(record, *networks[i])));
    request.default_route = i == choice.v4;
    request.default_route6 = i == choice.v6;
    if (i == main) request.ports = shares.v4;
    record.endpoints.push_back(TRY(attach_one(services, record, *networks[i], sandbox, request)));
    record.endpoints.back().is_gateway = i == choice.v4;
    record.endpoints.back().is_gateway6 = i == choice.v6;
  }
  for (size_t i = 0; i < networks.size(); ++i)
    if (i != choice.v4 && networks[i]->driver == kCniDriver && !record.endpoints[i].gateway.empty())
      TRY(restore_default_route(services, sandbox, choice.v4 ? record.endpoints[*choice.v4].gateway : ""));
  TRY(use_own_gateways(services, record, sandbox));
  if (!shares.v6.empty() && publishes(record.endpoints[*choice.v6]))
    TRY(publish_second(services, record, main, *choice.v6, std::move(shares.v6)));
  if (on_user_network(record)) {
    for (const auto& endpoint : record.endpoints) TRY(announce(services, record, endpoint));
    TRY_CTX(serve_names(services, record, sandbox.netns.get()), "set up name resolution");
  }
  undo.commit();
  auto facts = facts_of(record);
  names.addresses = std::move(facts.addresses);
  names.search = std::move(facts.search);
  names.gateway = std::move(facts.gateway);
  names.gateway6 = std::move(facts.gateway6);
  names.embedded_names = facts.embedded_names;
  return std::move(sandbox.netns);
}

Result<> connect_network(const Services& services, ContainerRecord& record, const NetworkRecord& network,
                         spec::EndpointSettings settings) {
  const auto& mode = record.host_config.network_mode;
  if (mode.starts_with("container:") || mode.starts_with("ns:"))
    return fail(ErrorKind::kInvalid,
                "container sharing network namespace with another container or host cannot be "
                "connected to any other network");
  if (mode == "host" || network.driver == "host")
    return fail(ErrorKind::kInvalid,
                "cannot connect container to host network - container must be created in host network");
  if (network.driver == "null" || (mode == "none" && record.networking.endpoints.contains("none")))
    return fail(ErrorKind::kInvalid,
                "container cannot be connected to multiple networks with one of the networks in "
                "private (none) mode");
  if (network.config_only)
    return fail(ErrorKind::kDenied, "cannot attach a container to the config-only network %s", network.name.c_str());
  if (!settings.aliases.empty() && !is_user_network(network.name))
    return fail(ErrorKind::kInvalid, "network-scoped alias is supported only for containers in user defined networks");
  TRY(check_endpoint_addresses(network, settings));
  if (record.endpoint_in(network.id) || (record.running() && record.networking.endpoints.contains(network.name)))
    return fail(ErrorKind::kDenied, "endpoint with name %s already exists in network %s", record.name.c_str(),
                network.name.c_str());
  if (record.networking.endpoints.size() >= kMaxPerContainer)
    return fail(ErrorKind::kInvalid, "more than %zu networks", kMaxPerContainer);
  record.networking.endpoints[network.name] = std::move(settings);
  if (!record.running()) return {};
  if (record.status() == Status::kRestarting)
    return fail(ErrorKind::kConflict, "container %s is restarting, wait until it runs", record.name.c_str());
  auto before = facts_of(record);
  auto families = query_families(record);
  const auto old_scope = scope_of(services, record);
  auto sandbox = TRY(sandbox_of(services, record));
  auto request = TRY(request_for(record, network, free_interface(record, network)));
  record.endpoints.push_back(TRY(attach_one(services, record, network, sandbox, request)));
  Rollback undo;
  undo.add([&] {
    if (auto gone = detach_one(services, record, sandbox, network); !gone) log_warn("%s", gone.error().message.c_str());
  });
  name_own_gateways(services, record.endpoints.back());
  std::string endpoint_id = record.endpoints.back().endpoint_id;
  TRY(announce(services, record, *record.endpoint_in(network.id)));
  undo.add([&] { services.names.remove(network.id, endpoint_id); });
  undo.add([&] { (void)services.names.change_scope(old_scope).has_value(); });
  TRY(renew_names(services, record, sandbox.netns.get(), families));
  TRY(change_host_files(record, services.options, services.paths, before, facts_of(record)));
  if (const auto& main = record.main_endpoint();
      network.driver == kCniDriver && main.is_gateway && !record.endpoints.back().gateway.empty())
    TRY(restore_default_route(services, sandbox, main.gateway));
  // Last, as it moves what works already.
  TRY(move_gateways(services, record, sandbox, {}));
  undo.commit();
  return {};
}

Result<> disconnect_network(const Services& services, ContainerRecord& record, const NetworkRecord& network) {
  if (record.host_config.network_mode == "host" && network.driver == "host")
    return fail(ErrorKind::kInvalid, "container cannot be disconnected from host network or connected to host network");
  if (!record.networking.endpoints.erase(network.name))
    return fail(ErrorKind::kDenied, "container %s is not connected to network %s", record.id.c_str(),
                network.name.c_str());
  auto found = std::find_if(record.endpoints.begin(), record.endpoints.end(),
                            [&](const StoredEndpoint& endpoint) { return endpoint.network_id == network.id; });
  if (!record.running() || found == record.endpoints.end()) return {};
  if (record.status() == Status::kRestarting)
    return fail(ErrorKind::kConflict, "container %s is restarting, wait until it runs", record.name.c_str());
  auto before = facts_of(record);
  auto families = query_families(record);
  auto sandbox = TRY(sandbox_of(services, record));
  auto ports = load_endpoint(record.id, *found).ports;
  TRY(detach_one(services, record, sandbox, network));
  services.names.remove(network.id, found->endpoint_id);
  record.endpoints.erase(found);
  TRY(move_gateways(services, record, sandbox, ports));
  TRY(renew_names(services, record, sandbox.netns.get(), families));
  return change_host_files(record, services.options, services.paths, before, facts_of(record));
}

void forget_names(const Services& services, const ContainerRecord& record) {
  if (!on_user_network(record)) return;
  services.names.detach(record.id);
  for (const auto& endpoint : record.endpoints)
    if (is_user_network(endpoint.network)) services.names.remove(endpoint.network_id, endpoint.endpoint_id);
}

Result<> restore_names(const Services& services, const ContainerRecord& record) {
  if (!on_user_network(record)) return {};
  for (const auto& endpoint : record.endpoints) TRY(announce(services, record, endpoint));
  if (TRY(services.names.resume(scope_of(services, record)))) return {};
  auto netns = TRY(open_netns(record));
  return serve_names(services, record, netns.get());
}

void renew_own_names(const Services& services, const ContainerRecord& record) {
  for (const auto& endpoint : record.endpoints)
    if (auto done = announce(services, record, endpoint); !done) log_warn("%s", done.error().message.c_str());
}

}  // namespace caisson::engine
