// SPDX-License-Identifier: Apache-2.0
// Which container port is meant by an address and port of the host: published ports and ranges, the newest word of
// the engine on each. No sockets.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "wire/relay_control.h"

namespace caisson::relay {

// In network order; IPv4 as ::ffff:a.b.c.d.
using Address = std::array<uint8_t, 16>;
inline constexpr Address kAnyAddress = {};

// Any text of an IPv6 address but those with a zone.
std::optional<Address> parse_address(std::string_view text);
std::string format_address(const Address& address);

struct Endpoint {
  Address address = {};
  uint16_t port = 0;
  auto operator<=>(const Endpoint&) const = default;
};
struct SocketAddress {
  sockaddr_storage storage;
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};
SocketAddress socket_address(const Endpoint& endpoint);  // AF_INET for an IPv4 address

struct Entry {
  bool udp = false;
  Endpoint host;  // the first port
  uint16_t count = 1;
  Endpoint container;
  bool operator==(const Entry&) const = default;
};
// kInvalid: an address that is none, port 0, a range past 65535. `with_container` false: `container` is not looked at.
Result<Entry> read_entry(const ControlRequest& request, bool with_container);

class Table {
 public:
  struct Row {
    Entry entry;
    uint64_t number = 0;  // of this entry alone, for good
    uint64_t generation = 0;
  };
  struct Put {
    uint64_t number = 0;
    bool known = false;               // the same entry was there: its number stays
    std::vector<uint64_t> displaced;  // of entries that it overlaps
  };
  struct Found {
    uint64_t number = 0;
    Endpoint container;
  };

  Result<Put> put(const Entry& entry, uint64_t generation);
  std::optional<uint64_t> remove(const Entry& entry);  // its number; by protocol, host and count
  // The numbers of those of other generations, which are gone then.
  std::vector<uint64_t> drop_others(uint64_t generation);
  // An entry for the very address before one for any.
  std::optional<Found> find(bool udp, const Endpoint& host) const;
  size_t size() const { return rows_.size(); }

 private:
  struct Key {
    bool udp = false;
    Endpoint host;
    auto operator<=>(const Key&) const = default;
  };
  std::optional<Found> find_at(bool udp, const Endpoint& host) const;

  std::map<Key, Row> rows_;
  uint64_t next_number_ = 1;
};

}  // namespace caisson::relay
