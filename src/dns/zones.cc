// SPDX-License-Identifier: Apache-2.0
#include "dns/zones.h"

#include <algorithm>

#include "base/text.h"
#include "wire/dns_control.h"

namespace caisson::dns {
namespace {

Result<> check_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameText)
    return fail(ErrorKind::kInvalid, "name %s: not 1 to %zu bytes long", quoted(name).c_str(), kMaxNameText);
  return {};
}

Result<> check_id(std::string_view id, const char* what) {
  if (id.empty() || id.size() > kMaxIdText) return fail(ErrorKind::kInvalid, "the %s's id is empty or too long", what);
  return {};
}

bool contains(const std::vector<Address>& all, const Address& one) { return std::ranges::find(all, one) != all.end(); }

template <class Map, class Key>
void drop_from(Map& map, const Key& key, const void* endpoint) {
  auto found = map.find(key);
  if (found == map.end()) return;
  std::erase_if(found->second, [&](auto* other) { return other == endpoint; });
  if (found->second.empty()) map.erase(found);
}

}  // namespace

Result<> Zones::put(const EndpointNames& given, uint64_t generation) {
  TRY(check_id(given.network_id, "network"));
  TRY(check_id(given.id, "endpoint"));
  TRY(check_name(given.network_name));
  TRY(check_name(given.name));
  if (given.aliases.size() > kMaxAliases)
    return fail(ErrorKind::kExhausted, "endpoint of %s: more than %zu aliases", quoted(given.name).c_str(),
                kMaxAliases);
  if (given.addresses.size() > kMaxAddresses)
    return fail(ErrorKind::kExhausted, "endpoint of %s: more than %zu addresses", quoted(given.name).c_str(),
                kMaxAddresses);
  auto endpoint = std::make_unique<Endpoint>();
  endpoint->name = given.name;
  endpoint->generation = generation;
  endpoint->names.push_back(to_lower(given.name));
  for (const auto& alias : given.aliases) {
    TRY(check_name(alias));
    endpoint->names.push_back(to_lower(alias));
  }
  std::ranges::sort(endpoint->names);
  endpoint->names.erase(std::ranges::unique(endpoint->names).begin(), endpoint->names.end());
  for (const auto& text : given.addresses) {
    auto address = parse_address(text);
    if (!address) return fail(ErrorKind::kInvalid, "address %s: neither IPv4 nor IPv6", quoted(text).c_str());
    if (!contains(endpoint->addresses, *address)) endpoint->addresses.push_back(*address);
  }
  auto network = networks_.find(given.network_id);
  bool replaces = network != networks_.end() && network->second.endpoints.contains(given.id);
  if (!replaces && count_ >= kMaxEndpoints)
    return fail(ErrorKind::kExhausted, "more than %zu endpoints", kMaxEndpoints);
  if (replaces) {
    unlink(network->second, *network->second.endpoints[given.id]);
  } else {
    if (network == networks_.end()) network = networks_.try_emplace(given.network_id).first;
    ++count_;
  }
  network->second.name = given.network_name;
  network->second.lower_name = to_lower(given.network_name);
  link(network->second, *endpoint);
  network->second.endpoints[given.id] = std::move(endpoint);
  return {};
}

void Zones::link(Network& network, const Endpoint& endpoint) {
  for (const auto& name : endpoint.names) network.by_name[name].push_back(&endpoint);
  for (const auto& address : endpoint.addresses) network.by_address[address].push_back(&endpoint);
}

void Zones::unlink(Network& network, const Endpoint& endpoint) {
  for (const auto& name : endpoint.names) drop_from(network.by_name, name, &endpoint);
  for (const auto& address : endpoint.addresses) drop_from(network.by_address, address, &endpoint);
}

void Zones::remove(std::string_view network_id, std::string_view endpoint_id) {
  auto network = networks_.find(network_id);
  if (network == networks_.end()) return;
  auto found = network->second.endpoints.find(endpoint_id);
  if (found == network->second.endpoints.end()) return;
  unlink(network->second, *found->second);
  network->second.endpoints.erase(found);
  --count_;
  if (network->second.endpoints.empty()) networks_.erase(network);
}

void Zones::drop_others(uint64_t generation) {
  for (auto network = networks_.begin(); network != networks_.end();) {
    auto& endpoints = network->second.endpoints;
    for (auto entry = endpoints.begin(); entry != endpoints.end();) {
      if (entry->second->generation == generation) {
        ++entry;
        continue;
      }
      unlink(network->second, *entry->second);
      entry = endpoints.erase(entry);
      --count_;
    }
    network = endpoints.empty() ? networks_.erase(network) : std::next(network);
  }
}

const Zones::Network* Zones::network_of(std::string_view id) const {
  auto found = networks_.find(id);
  return found == networks_.end() ? nullptr : &found->second;
}

std::optional<std::vector<Address>> Zones::find_in(const View& view, std::string_view name,
                                                   std::string_view network_name) const {
  // All links first, then all names: an alias given by the container's owner wins over a neighbour's name, and
  // hides that name in the network it was given for.
  for (bool by_link : {true, false}) {
    for (const auto& part : view.networks) {
      const Network* network = network_of(part.id);
      if (!network || (!network_name.empty() && network->lower_name != network_name)) continue;
      auto link = part.links.find(name);
      if (by_link != (link != part.links.end())) continue;
      auto found = network->by_name.find(by_link ? std::string_view(link->second) : name);
      if (found == network->by_name.end()) continue;
      std::vector<Address> all;
      for (const Endpoint* endpoint : found->second)
        for (const Address& address : endpoint->addresses)
          if (!contains(all, address)) all.push_back(address);
      return all;
    }
  }
  return std::nullopt;
}

std::optional<std::vector<Address>> Zones::find(const View& view, std::string_view name) const {
  if (name.empty() || name.back() == '.') return std::nullopt;
  if (auto found = find_in(view, name, {})) return found;
  // DOCKER-QUIRK: both names may hold dots: a.b.c is 'a.b' in network 'c', else 'a' in network 'b.c'.
  for (size_t dot = name.rfind('.'); dot != std::string_view::npos && dot != 0; dot = name.rfind('.', dot - 1))
    if (auto found = find_in(view, name.substr(0, dot), name.substr(dot + 1))) return found;
  return std::nullopt;
}

std::optional<std::string> Zones::find_reverse(const View& view, const Address& address) const {
  for (const auto& part : view.networks) {
    const Network* network = network_of(part.id);
    if (!network) continue;
    auto found = network->by_address.find(address);
    if (found != network->by_address.end()) return found->second.front()->name + "." + network->name;
  }
  return std::nullopt;
}

}  // namespace caisson::dns
