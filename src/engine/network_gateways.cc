// SPDX-License-Identifier: Apache-2.0
#include "engine/network_gateways.h"

#include <tuple>

#include "base/log.h"
#include "base/rollback.h"
#include "engine/cni_networks.h"
#include "engine/port_plan.h"

namespace caisson::engine {

namespace {

bool is_v6(const network::PortMapping& port) { return port.host_ip.find(':') != std::string::npos; }

std::vector<network::PortMapping> of_family(const std::vector<network::PortMapping>& ports, bool v6) {
  std::vector<network::PortMapping> out;
  for (const auto& port : ports)
    if (is_v6(port) == v6) out.push_back(port);
  return out;
}

void warn(const Result<>& done) {
  if (!done) log_warn("going back to the gateway before: %s", done.error().message.c_str());
}

// One family's share of the move.
class Move {
 public:
  Move(const Services& services, ContainerRecord& record, network::Sandbox& sandbox, bool v6)
      : services_(services), record_(record), sandbox_(sandbox), v6_(v6) {}

  // `best` is for the route, `target` for the ports. What is done can be undone by `undo`, while this lives.
  Result<> run(std::optional<size_t> best, std::optional<size_t> target,
               const std::vector<network::PortMapping>& orphaned, Rollback& undo) {
    undo_ = &undo;
    auto present = present_gateway();
    auto ports = of_family(orphaned, v6_);
    for (size_t i = 0; i < record_.endpoints.size(); ++i)
      if (i != target) take_ports(i, ports);
    // A family that was not published before.
    if (ports.empty() && best && present != best && (!present || !publishes(record_.endpoints[*present])))
      ports = TRY(wanted());
    if (present != best) TRY(move_route(present, best));
    if (!target || ports.empty() || !publishes(record_.endpoints[*target])) return {};
    auto endpoint = load_endpoint(record_.id, record_.endpoints[*target]);
    TRY(services_.network.publish(endpoint, ports));
    undo.add([this, target = *target, ports] { give_up(target, ports); });
    record_.endpoints[*target].ports = store_endpoint(endpoint).ports;
    return {};
  }

 private:
  bool& flag(StoredEndpoint& endpoint) const { return v6_ ? endpoint.is_gateway6 : endpoint.is_gateway; }
  std::string gateway_at(std::optional<size_t> index) const {
    if (!index) return "";
    const auto& endpoint = record_.endpoints[*index];
    return v6_ ? endpoint.gateway6 : endpoint.gateway;
  }
  Result<> set_route(const std::string& gateway) {
    return v6_ ? services_.network.set_default_route6(sandbox_, gateway)
               : services_.network.set_default_route(sandbox_, gateway);
  }
  std::optional<size_t> present_gateway() {
    for (size_t i = 0; i < record_.endpoints.size(); ++i)
      if (flag(record_.endpoints[i])) return i;
    return std::nullopt;
  }
  std::vector<network::PortMapping> published() const {
    std::vector<network::PortMapping> all;
    for (const auto& endpoint : record_.endpoints)
      for (auto& port : load_endpoint(record_.id, endpoint).ports) all.push_back(std::move(port));
    return all;
  }
  // What was asked for, with the host ports that the other family has already.
  Result<std::vector<network::PortMapping>> wanted() {
    auto all = published();
    auto asked = all.empty() ? TRY(plan_ports(record_, services_.containers)) : asked_form(record_, all);
    std::vector<network::PortMapping> out;
    for (auto& port : asked) {
      bool everywhere = port.host_ip.empty();
      if (!everywhere && (!all.empty() || is_v6(port) != v6_)) continue;
      if (everywhere) port.host_ip = v6_ ? "::" : "0.0.0.0";
      out.push_back(std::move(port));
    }
    return out;
  }
  void take_ports(size_t index, std::vector<network::PortMapping>& ports) {
    auto endpoint = load_endpoint(record_.id, record_.endpoints[index]);
    auto gone = of_family(endpoint.ports, v6_);
    if (gone.empty() || !publishes(record_.endpoints[index])) return;
    services_.network.unpublish(endpoint, gone);
    record_.endpoints[index].ports = store_endpoint(endpoint).ports;
    ports.insert(ports.end(), gone.begin(), gone.end());
    undo_->add([this, index, gone] {
      auto old = load_endpoint(record_.id, record_.endpoints[index]);
      warn(services_.network.publish(old, gone));
      record_.endpoints[index].ports = store_endpoint(old).ports;
    });
  }
  void give_up(size_t index, const std::vector<network::PortMapping>& ports) {
    auto endpoint = load_endpoint(record_.id, record_.endpoints[index]);
    services_.network.unpublish(endpoint, ports);
    record_.endpoints[index].ports = store_endpoint(endpoint).ports;
  }
  Result<> move_route(std::optional<size_t> present, std::optional<size_t> best) {
    undo_->add([this, present, best] {
      warn(set_route(gateway_at(present)));
      if (best) flag(record_.endpoints[*best]) = false;
      if (present) flag(record_.endpoints[*present]) = true;
    });
    TRY(set_route(gateway_at(best)));
    if (present) flag(record_.endpoints[*present]) = false;
    if (best) flag(record_.endpoints[*best]) = true;
    return {};
  }

  const Services& services_;
  ContainerRecord& record_;
  network::Sandbox& sandbox_;
  const bool v6_;
  Rollback* undo_ = nullptr;
};

}  // namespace

GatewayChoice choose_gateways(const std::vector<GatewayCandidate>& candidates) {
  GatewayChoice choice;
  auto better = [&](size_t a, const std::optional<size_t>& b) {
    if (!b) return true;
    const auto &one = candidates[a], &other = candidates[*b];
    bool one_both = one.v4 && one.v6, other_both = other.v4 && other.v6;
    return std::tie(other.priority, other_both, one.network) < std::tie(one.priority, one_both, other.network);
  };
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].v4 && better(i, choice.v4)) choice.v4 = i;
    if (candidates[i].v6 && better(i, choice.v6)) choice.v6 = i;
  }
  return choice;
}

bool publishes(const StoredEndpoint& endpoint) {
  return endpoint.driver != kCniDriver && !network::is_lan_driver(endpoint.driver);
}

Result<> publish_second(const Services& services, ContainerRecord& record, size_t first, size_t second,
                        std::vector<network::PortMapping> ports) {
  auto done = load_endpoint(record.id, record.endpoints[first]).ports;
  for (auto& port : ports)
    for (const auto& other : done)
      if (port.host_port == 0 && other.protocol == port.protocol && other.container_port == port.container_port)
        port.host_port = other.host_port;
  auto endpoint = load_endpoint(record.id, record.endpoints[second]);
  TRY(services.network.publish(endpoint, ports));
  record.endpoints[second].ports = store_endpoint(endpoint).ports;
  return {};
}

int64_t gateway_priority(const ContainerRecord& record, const std::string& network) {
  auto found = record.networking.endpoints.find(network);
  return found == record.networking.endpoints.end() || !found->second ? 0 : found->second->gw_priority;
}

Result<> move_gateways(const Services& services, ContainerRecord& record, network::Sandbox& sandbox,
                       const std::vector<network::PortMapping>& orphaned) {
  std::vector<GatewayCandidate> candidates;
  for (const auto& endpoint : record.endpoints) {
    // Its routes and ports are its plugins', once for all.
    bool movable = endpoint.driver != kCniDriver;
    if (!movable && endpoint.is_gateway) return {};
    candidates.push_back({endpoint.network, movable && !endpoint.gateway.empty(), movable && !endpoint.gateway6.empty(),
                          gateway_priority(record, endpoint.network)});
  }
  auto choice = choose_gateways(candidates);
  // Without any way out the ports stay where they are, or go to whoever is left.
  if (!choice.v4 && !choice.v6 && !record.endpoints.empty()) {
    choice.v4 = 0;
    for (size_t i = 0; i < record.endpoints.size(); ++i)
      if (record.endpoints[i].is_gateway) choice.v4 = i;
  }
  Move v4(services, record, sandbox, false), v6(services, record, sandbox, true);
  Rollback undo;
  TRY(v4.run(choice.v4, choice.v4, orphaned, undo));
  // IPv6 clients of a container without IPv6 are served by its IPv4 address.
  TRY(v6.run(choice.v6, choice.v6 ? choice.v6 : choice.v4, orphaned, undo));
  undo.commit();
  return {};
}

}  // namespace caisson::engine
