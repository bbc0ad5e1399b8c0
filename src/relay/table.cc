// SPDX-License-Identifier: Apache-2.0
#include "relay/table.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace caisson::relay {
namespace {
constexpr Address kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool is_mapped(const Address& address) {
  return std::equal(address.begin(), address.begin() + 12, kMappedPrefix.begin());
}

unsigned last_port(const Entry& entry) { return entry.host.port + entry.count - 1u; }
}  // namespace

std::optional<Address> parse_address(std::string_view text) {
  Address out;
  if (text.size() >= INET6_ADDRSTRLEN || text.find('\0') != std::string_view::npos) return std::nullopt;
  if (inet_pton(AF_INET6, std::string(text).c_str(), out.data()) != 1) return std::nullopt;
  return out;
}

std::string format_address(const Address& address) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(AF_INET6, address.data(), text, sizeof text);
  return text;
}

SocketAddress socket_address(const Endpoint& endpoint) {
  SocketAddress out{};
  if (is_mapped(endpoint.address)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(endpoint.port);
    memcpy(&at.sin_addr, endpoint.address.data() + kMappedPrefix.size() - 4, 4);
    memcpy(&out.storage, &at, sizeof at);
    out.size = sizeof at;
  } else {
    sockaddr_in6 at{};
    at.sin6_family = AF_INET6;
    at.sin6_port = htons(endpoint.port);
    memcpy(&at.sin6_addr, endpoint.address.data(), endpoint.address.size());
    memcpy(&out.storage, &at, sizeof at);
    out.size = sizeof at;
  }
  return out;
}

Result<Entry> read_entry(const ControlRequest& request, bool with_container) {
  auto read_port = [](uint16_t port, uint16_t count, const char* what) -> Result<> {
    if (!port || !count || port + count - 1u > UINT16_MAX)
      return fail(ErrorKind::kInvalid, "%s: no %u ports from %u on", what, count, port);
    return {};
  };
  auto read_address = [](const std::string& text) -> Result<Address> {
    auto address = parse_address(text);
    if (!address) return fail(ErrorKind::kInvalid, "address %s: not IPv6", quoted(text).c_str());
    return *address;
  };
  Entry entry;
  entry.udp = request.protocol == "udp";
  if (!entry.udp && request.protocol != "tcp")
    return fail(ErrorKind::kUnsupported, "protocol %s is not carried", quoted(request.protocol).c_str());
  entry.count = request.count;
  entry.host = {TRY(read_address(request.host)), request.port};
  TRY(read_port(request.port, request.count, "host"));
  if (!with_container) return entry;
  entry.container = {TRY(read_address(request.container)), request.container_port};
  if (entry.container.address == kAnyAddress) return fail(ErrorKind::kInvalid, "container: no address");
  TRY(read_port(request.container_port, request.count, "container"));
  return entry;
}

Result<Table::Put> Table::put(const Entry& entry, uint64_t generation) {
  Put out;
  Key key{entry.udp, entry.host};
  if (auto found = rows_.find(key); found != rows_.end() && found->second.entry == entry) {
    found->second.generation = generation;
    out.number = found->second.number;
    out.known = true;
    return out;
  }
  if (rows_.size() >= kMaxEntries) return fail(ErrorKind::kExhausted, "more than %zu entries", kMaxEntries);
  // Entries of one address do not overlap, so at most one that begins before this one reaches into it.
  auto overlaps = [&](const Entry& other) {
    return other.udp == entry.udp && other.host.address == entry.host.address && last_port(other) >= entry.host.port &&
           other.host.port <= last_port(entry);
  };
  auto at = rows_.lower_bound(key);
  if (at != rows_.begin() && overlaps(std::prev(at)->second.entry)) --at;
  while (at != rows_.end() && overlaps(at->second.entry)) {
    out.displaced.push_back(at->second.number);
    at = rows_.erase(at);
  }
  out.number = next_number_++;
  rows_[key] = {entry, out.number, generation};
  return out;
}

std::optional<uint64_t> Table::remove(const Entry& entry) {
  auto found = rows_.find({entry.udp, entry.host});
  if (found == rows_.end() || found->second.entry.count != entry.count) return std::nullopt;
  uint64_t number = found->second.number;
  rows_.erase(found);
  return number;
}

std::vector<uint64_t> Table::drop_others(uint64_t generation) {
  std::vector<uint64_t> out;
  std::erase_if(rows_, [&](const auto& row) {
    bool other = row.second.generation != generation;
    if (other) out.push_back(row.second.number);
    return other;
  });
  return out;
}

std::optional<Table::Found> Table::find_at(bool udp, const Endpoint& host) const {
  auto found = rows_.upper_bound({udp, host});
  if (found == rows_.begin()) return std::nullopt;
  const Row& row = std::prev(found)->second;
  const Entry& entry = row.entry;
  if (entry.udp != udp || entry.host.address != host.address || host.port > last_port(entry)) return std::nullopt;
  auto offset = static_cast<uint16_t>(host.port - entry.host.port);
  return Found{row.number, {entry.container.address, static_cast<uint16_t>(entry.container.port + offset)}};
}

std::optional<Table::Found> Table::find(bool udp, const Endpoint& host) const {
  if (auto exact = find_at(udp, host)) return exact;
  return find_at(udp, {kAnyAddress, host.port});
}

}  // namespace caisson::relay
