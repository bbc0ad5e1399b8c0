// SPDX-License-Identifier: Apache-2.0
#include "engine/port_plan.h"

#include <algorithm>
#include <optional>

#include "base/ip_address.h"
#include "base/text.h"
#include "engine/create_rules.h"
#include "engine/port_ranges.h"
#include "network/relay_client.h"

namespace caisson::engine {

namespace {

struct HostRange {
  uint64_t first = 0, last = 0;
};

HostRange host_range(const std::string& text) {
  auto pair = split_once(text, '-');
  uint64_t first = parse_uint(pair ? pair->first : text).value_or(0);
  return {first, pair ? parse_uint(pair->second).value_or(0) : first};
}

bool same_place(const network::PortMapping& a, const network::PortMapping& b) {
  return a.protocol == b.protocol && a.container_port == b.container_port && a.host_port == b.host_port &&
         a.count == b.count;
}

class TakenPorts {
 public:
  explicit TakenPorts(const ContainerRegistry& containers) : containers_(containers) {}
  // The first of the range that is not taken, or the last one; nobody gets it after this.
  uint16_t choose(const std::string& protocol, HostRange range) {
    if (!looked_) look();
    while (range.first < range.last && is_taken(protocol, range.first)) ++range.first;
    auto port = static_cast<uint16_t>(range.first);
    taken_.push_back({protocol, 1, "", port});
    return port;
  }

 private:
  void look() {
    looked_ = true;
    for (const auto& container : containers_.list()) {
      auto record = container->snapshot();
      for (const auto& endpoint : record->endpoints)
        for (auto& port : load_endpoint(record->id, endpoint).ports) taken_.push_back(std::move(port));
    }
  }
  bool is_taken(const std::string& protocol, uint64_t number) const {
    return std::any_of(taken_.begin(), taken_.end(), [&](const auto& port) {
      return port.protocol == protocol && number >= port.host_port && number < uint64_t{port.host_port} + port.count;
    });
  }

  const ContainerRegistry& containers_;
  bool looked_ = false;
  std::vector<network::PortMapping> taken_;
};

bool has(const std::vector<spec::PortBinding>& bindings, const char* address, const std::string& host_port) {
  return std::any_of(bindings.begin(), bindings.end(),
                     [&](const auto& binding) { return binding.host_ip == address && binding.host_port == host_port; });
}

// Has the container asked for this port without saying at which address?
bool asked_everywhere(const ContainerRecord& record, const network::PortMapping& port) {
  const auto& host = record.host_config;
  bool named = false, everywhere = false;
  for (const auto& [text, bindings] : host.port_bindings) {
    auto inside = parse_container_ports(text);
    if (!inside || inside->front().protocol != port.protocol || inside->front().number > port.container_port ||
        inside->back().number < port.container_port)
      continue;
    auto offset = static_cast<uint64_t>(port.container_port - inside->front().number);
    for (const auto& binding : bindings.value_or(std::vector<spec::PortBinding>{})) {
      auto range = host_range(binding.host_port);
      bool fits =
          range.first == 0 || (inside->size() > 1 ? range.first + offset == port.host_port
                                                  : port.host_port >= range.first && port.host_port <= range.last);
      named = named || fits;
      everywhere = everywhere || (fits && binding.host_ip.empty());
      // An address of its own that is this very one is what it was asked for.
      if (fits && binding.host_ip == port.host_ip && range.first != 0) return false;
    }
  }
  return everywhere || (!named && host.publish_all_ports);
}

}  // namespace

Result<std::vector<network::PortMapping>> plan_ports(const ContainerRecord& record,
                                                     const ContainerRegistry& containers) {
  const auto& host = record.host_config;
  std::vector<network::PortMapping> ports;
  std::vector<network::PortMapping> bound;  // container ports with bindings
  TakenPorts taken(containers);
  for (const auto& [text, bindings] : host.port_bindings) {
    auto inside = TRY(parse_container_ports(text));
    if (!bindings) continue;
    auto count = static_cast<uint16_t>(inside.size());
    for (const auto& binding : *bindings) {
      // "::" beside "0.0.0.0" is what some clients send for "everywhere".
      bool everywhere = binding.host_ip == "0.0.0.0" && has(*bindings, "::", binding.host_port);
      if (binding.host_ip == "::" &&
          (has(*bindings, "", binding.host_port) || has(*bindings, "0.0.0.0", binding.host_port)))
        continue;
      network::PortMapping port{inside[0].protocol, static_cast<uint16_t>(inside[0].number), "", 0, count};
      if (!binding.host_ip.empty() && !everywhere) {
        auto address = parse_ip(binding.host_ip);
        if (!address) return fail(ErrorKind::kInvalid, "invalid IP address: '%s'", binding.host_ip.c_str());
        port.host_ip = address->text();
      }
      auto range = host_range(binding.host_port);
      port.host_port = count == 1 && range.last > range.first ? taken.choose(port.protocol, range)
                                                              : static_cast<uint16_t>(range.first);
      bound.push_back(port);
      ports.push_back(std::move(port));
    }
  }
  if (host.publish_all_ports)
    for (const auto& [text, unused] : record.config.exposed_ports)
      for (const auto& inside : TRY(parse_container_ports(text))) {
        bool done = std::any_of(bound.begin(), bound.end(), [&](const auto& port) {
          return port.protocol == inside.protocol && inside.number >= port.container_port &&
                 inside.number < port.container_port + port.count;
        });
        if (!done) ports.push_back({inside.protocol, static_cast<uint16_t>(inside.number), "", 0, 1});
      }
  if (ports.size() > kMaxPublishedRanges)
    return fail(ErrorKind::kInvalid, "%zu published ports or ranges of ports, there can be %zu", ports.size(),
                kMaxPublishedRanges);
  return ports;
}

std::vector<std::string> unreached_by_ipv6(const ContainerRecord& record, NetworkStore& networks) {
  std::vector<std::string> sentences;
  for (const auto& [name, settings] : record.networking.endpoints) {
    auto network = networks.find(name);
    if (!network || (*network)->driver != "bridge" || (*network)->enable_ipv6) return sentences;
  }
  for (const auto& [text, bindings] : record.host_config.port_bindings) {
    auto inside = parse_container_ports(text);
    if (!inside || !bindings || inside->front().protocol != "udp" || inside->size() <= network::kMaxRelayedUdpRange)
      continue;
    bool everywhere = std::any_of(bindings->begin(), bindings->end(),
                                  [](const spec::PortBinding& binding) { return binding.host_ip.empty(); });
    if (everywhere)
      sentences.push_back(
          format("Published ports %s are not reached by IPv6 clients: the container has no IPv6 address, "
                 "and without one ranges of UDP are limited to %u ports",
                 text.c_str(), network::kMaxRelayedUdpRange));
  }
  return sentences;
}

PortShares share_ports(const std::vector<network::PortMapping>& ports, const std::string& host_ip) {
  PortShares shares;
  for (auto port : ports) {
    if (port.host_ip.empty()) port.host_ip = host_ip;
    if (port.host_ip.empty()) {
      port.host_ip = "0.0.0.0";
      shares.v4.push_back(port);
      port.host_ip = "::";
    }
    auto& share = port.host_ip.find(':') == std::string::npos ? shares.v4 : shares.v6;
    share.push_back(std::move(port));
  }
  return shares;
}

std::vector<network::PortMapping> asked_form(const ContainerRecord& record,
                                             const std::vector<network::PortMapping>& published) {
  std::vector<network::PortMapping> out;
  for (auto port : published) {
    if (asked_everywhere(record, port)) port.host_ip.clear();
    bool there = std::any_of(out.begin(), out.end(), [&](const auto& other) {
      return other.host_ip == port.host_ip && same_place(other, port);
    });
    if (!there) out.push_back(std::move(port));
  }
  return out;
}

}  // namespace caisson::engine
