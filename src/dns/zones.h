// SPDX-License-Identifier: Apache-2.0
// Who is called what in which network, and what a container may see of it: Docker's rules of name lookup.
// Memory only; limits are those of wire/dns_control.h.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "wire/dns_message.h"

namespace caisson::dns {

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
template <class T>
using TextMap = std::unordered_map<std::string, T, TextHash, std::equal_to<>>;

struct EndpointNames {
  std::string network_id, network_name;
  std::string id;
  std::string name;
  std::vector<std::string> aliases, addresses;
};

// The networks of one container in the order of lookup; all names in lower case.
struct View {
  struct Network {
    std::string id;
    std::map<std::string, std::string, std::less<>> links;  // alias -> name in this network
  };
  std::vector<Network> networks;
};

class Zones {
 public:
  // Replaces the endpoint of that network and id. kInvalid or kExhausted change nothing.
  Result<> put(const EndpointNames& names, uint64_t generation);
  void remove(std::string_view network_id, std::string_view endpoint_id);
  // Endpoints put in another generation.
  void drop_others(uint64_t generation);

  // All addresses, of both families, that a name has for this view; nullopt: the name is not ours. `name` is in
  // lower case without the last dot.
  std::optional<std::vector<Address>> find(const View& view, std::string_view name) const;
  // "name.network"
  std::optional<std::string> find_reverse(const View& view, const Address& address) const;

  size_t endpoints() const { return count_; }

 private:
  struct Endpoint {
    std::string name;  // as given
    std::vector<std::string> names;
    std::vector<Address> addresses;
    uint64_t generation = 0;
  };
  struct Network {
    std::string name, lower_name;
    std::map<std::string, std::unique_ptr<Endpoint>, std::less<>> endpoints;
    TextMap<std::vector<const Endpoint*>> by_name;
    std::map<Address, std::vector<const Endpoint*>> by_address;
  };
  static void link(Network& network, const Endpoint& endpoint);
  static void unlink(Network& network, const Endpoint& endpoint);
  const Network* network_of(std::string_view id) const;
  std::optional<std::vector<Address>> find_in(const View& view, std::string_view name, std::string_view network) const;

  TextMap<Network> networks_;
  size_t count_ = 0;
};

}  // namespace caisson::dns
