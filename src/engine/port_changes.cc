// SPDX-License-Identifier: Apache-2.0
// Ports that are published and taken back while a container is there, whether it runs or not.
#include <algorithm>

#include "base/text.h"
#include "engine/cni_networks.h"
#include "engine/create_rules.h"
#include "engine/network_gateways.h"
#include "engine/network_links.h"
#include "engine/port_plan.h"
#include "engine/port_ranges.h"

namespace caisson::engine {

namespace {

using Ports = std::vector<network::PortMapping>;

// What a request takes back: ports of the container, alone or with where they are published.
class Unwanted {
 public:
  explicit Unwanted(const spec::PortMap& ports) : ports_(expand_ports(ports)) {}

  bool has(const std::string& port, const std::string& address, const std::string& number) const {
    for (const auto& text : {port, port.substr(0, port.find('/'))}) {
      auto found = ports_.find(text);
      if (found == ports_.end() || (text != port && !port.ends_with("/tcp"))) continue;
      if (!found->second || found->second->empty()) return true;
      for (const auto& binding : *found->second)
        if ((binding.host_port.empty() || binding.host_port == number) &&
            (binding.host_ip.empty() || binding.host_ip == address))
          return true;
    }
    return false;
  }
  bool has(const network::PortMapping& port, unsigned at) const {
    return has(format("%u/%s", port.container_port + at, port.protocol.c_str()), port.host_ip,
               std::to_string(port.host_port + at));
  }

 private:
  spec::PortMap ports_;
};

// Ranges go as a whole, and what is left of them comes back.
struct Cut {
  Ports gone, rest;
};
Cut cut(const Ports& published, const Unwanted& unwanted) {
  Cut out;
  for (const auto& port : published) {
    Ports kept;
    unsigned first = 0;  // of the run that is kept
    for (unsigned at = 0; at <= port.count; ++at) {
      if (at < port.count && !unwanted.has(port, at)) continue;
      if (at > first) kept.push_back(part_of(port, first, at - first));
      first = at + 1;
    }
    if (kept.size() == 1 && kept[0] == port) continue;
    out.gone.push_back(port);
    out.rest.insert(out.rest.end(), kept.begin(), kept.end());
  }
  return out;
}

Result<> change_endpoint(const Services& services, const ContainerRecord& record, StoredEndpoint& stored,
                         const Ports& publish, const Unwanted& unwanted) {
  auto endpoint = load_endpoint(record.id, stored);
  auto [gone, rest] = cut(endpoint.ports, unwanted);
  // The new ones first: should one be taken, nothing has changed.
  if (!publish.empty()) TRY(services.network.publish(endpoint, publish));
  services.network.unpublish(endpoint, gone);
  auto back = rest.empty() ? Result<>() : services.network.publish(endpoint, rest);
  stored.ports = store_endpoint(endpoint).ports;
  return back;
}

}  // namespace

Result<> change_ports(const Services& services, ContainerRecord& record, const spec::PortChange& change) {
  auto& host = record.host_config;
  if (!has_networks(host))
    return fail(ErrorKind::kConflict, "container %s has no network of its own, so it publishes no ports",
                record.name.c_str());
  if (record.status() == Status::kRestarting)
    return fail(ErrorKind::kConflict, "container %s is restarting, wait until it runs", record.name.c_str());
  // What `create` checks, for these alone.
  ContainerRecord added;
  added.id = record.id;
  added.host_config.port_bindings = change.publish;
  std::vector<std::string> warnings;
  TRY(check_ports(added.host_config, added.config, warnings));
  auto publish = TRY(plan_ports(added, services.containers));
  for (const auto& [text, bindings] : change.unpublish) TRY(parse_container_ports(text));
  Unwanted unwanted(change.unpublish);

  StoredEndpoint *v4 = nullptr, *v6 = nullptr;
  for (auto& endpoint : record.endpoints) {
    if (endpoint.is_gateway) v4 = &endpoint;
    if (endpoint.is_gateway6) v6 = &endpoint;
  }
  for (const auto* main : {v4, v6})
    if (record.running() && main && !publishes(*main))
      return fail(ErrorKind::kUnsupported, "network %s: ports of a running container on a %s network cannot be changed",
                  main->network.c_str(), main->driver == kCniDriver ? "CNI" : main->driver.c_str());
  if (record.running() && (v4 || v6)) {
    PortShares shares{publish, {}};
    bool two = v4 && v6 && v4 != v6;
    if (two) shares = share_ports(publish, services.options.network.host_ip);
    TRY(change_endpoint(services, record, v4 ? *v4 : *v6, shares.v4, unwanted));
    if (two) TRY(change_endpoint(services, record, *v6, shares.v6, unwanted));
  }

  auto bound = expand_ports(host.port_bindings);
  for (auto& [port, bindings] : bound)
    if (bindings)
      std::erase_if(*bindings, [&](const spec::PortBinding& binding) {
        return unwanted.has(port.find('/') == std::string::npos ? port + "/tcp" : port, binding.host_ip,
                            binding.host_port);
      });
  std::erase_if(bound, [](const auto& entry) { return !entry.second || entry.second->empty(); });
  for (const auto& [text, bindings] : expand_ports(added.host_config.port_bindings)) {
    std::string port = text.find('/') == std::string::npos ? text + "/tcp" : text;
    auto& list = bound[port];
    if (!list) list.emplace();
    if (bindings) list->insert(list->end(), bindings->begin(), bindings->end());
    record.config.exposed_ports[port];
  }
  compress_ports(bound);
  compress_exposed(record.config.exposed_ports);
  host.port_bindings = std::move(bound);
  return {};
}

}  // namespace caisson::engine
