// SPDX-License-Identifier: Apache-2.0
#include "network/ports.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "network/ipv4.h"
#include "sys/files.h"

namespace caisson::network {

namespace {
struct PortRange {
  uint16_t first = 32768, last = 60999;
};

PortRange local_port_range() {
  PortRange range;
  auto text = sys::read_file("/proc/sys/net/ipv4/ip_local_port_range", 64);
  if (!text) return range;
  auto parts = split_once(trim(*text), '\t');
  if (!parts) return range;
  auto first = parse_uint(trim(parts->first)), last = parse_uint(trim(parts->second));
  if (!first || !last || *first == 0 || *last > 65535 || *first > *last) return range;
  return {static_cast<uint16_t>(*first), static_cast<uint16_t>(*last)};
}

const char* protocol_name(uint8_t protocol) { return protocol == IPPROTO_UDP ? "udp" : "tcp"; }

std::unexpected<Error> already_allocated(const PublishedPort& port) {
  return fail(ErrorKind::kConflict, "Bind for %s failed: port is already allocated", port.host().c_str());
}

std::unexpected<Error> cannot_bind(const PublishedPort& port, const Error& why) {
  std::string reason = why.err ? errno_text(why.err) : why.message;
  reason[0] = static_cast<char>(reason[0] | 0x20);  // as Go writes them
  Error error{why.err == EADDRINUSE ? ErrorKind::kConflict : why.kind, why.err, ""};
  error.message = format("failed to bind host port for %s:%s:%u/%s: %s", port.host().c_str(),
                         format_ipv4(port.container_address).c_str(), port.container_port, protocol_name(port.protocol),
                         reason.c_str());
  return std::unexpected(std::move(error));
}
}  // namespace

std::string PublishedPort::host() const { return format_ipv4(host_address) + format(":%u", host_port); }

Result<PublishedPort> parse_mapping(const PortMapping& mapping, uint32_t container_address) {
  PublishedPort port;
  if (mapping.protocol == "tcp" || mapping.protocol.empty())
    port.protocol = IPPROTO_TCP;
  else if (mapping.protocol == "udp")
    port.protocol = IPPROTO_UDP;
  else
    return fail(ErrorKind::kUnsupported, "publishing protocol %s is not supported", quoted(mapping.protocol).c_str());
  if (!mapping.container_port) return fail(ErrorKind::kInvalid, "a published container port cannot be 0");
  auto address = parse_ipv4(mapping.host_ip.empty() ? "0.0.0.0" : mapping.host_ip);
  if (!address && mapping.host_ip.find(':') != std::string::npos)
    return fail(ErrorKind::kUnsupported, "publishing on IPv6 address %s is not supported",
                quoted(mapping.host_ip).c_str());
  if (!address)
    return fail(ErrorKind::kInvalid, "host address %s is not an IPv4 address", quoted(mapping.host_ip).c_str());
  port.host_address = *address;
  port.host_port = mapping.host_port;
  port.container_address = container_address;
  port.container_port = mapping.container_port;
  return port;
}

Result<UniqueFd> open_guard(uint8_t protocol, uint32_t address, uint16_t port) {
  bool udp = protocol == IPPROTO_UDP;
  UniqueFd fd(socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("socket");
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(address);
  at.sin_port = htons(port);
  int on = 1, off = 0;
  // With SO_REUSEADDR, connections of an earlier owner in TIME_WAIT do not count as taken.
  if (!udp && setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) return fail_errno("SO_REUSEADDR");
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) < 0) return fail_errno("bind");
  if (udp) {
    int smallest = 0;  // what misses the DNAT rule is not kept
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &smallest, sizeof smallest);
    return fd;
  }
  // listen() finds listeners of others that also set SO_REUSEADDR (inet_csk_get_port runs again). After
  // that the socket leaves the listening state but keeps the port, and gives up SO_REUSEADDR so that
  // nobody else's bind passes.
  if (listen(fd.get(), 0) < 0) return fail_errno("listen");
  if (shutdown(fd.get(), SHUT_RD) < 0) return fail_errno("shutdown");
  if (setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &off, sizeof off) < 0) return fail_errno("SO_REUSEADDR");
  return fd;
}

struct PortTable::State {
  using Key = std::pair<uint8_t, uint16_t>;
  mutable std::mutex mutex;
  // Per protocol and port the host addresses in use, with their guards.
  std::map<Key, std::map<uint32_t, UniqueFd>> taken;
  std::map<uint8_t, uint16_t> cursor;
  std::optional<PortRange> range;
  size_t count = 0;

  bool is_free(const PublishedPort& port) const {
    auto found = taken.find({port.protocol, port.host_port});
    if (found == taken.end()) return true;
    if (port.host_address == INADDR_ANY) return false;
    return !found->second.contains(INADDR_ANY) && !found->second.contains(port.host_address);
  }
  void add(const PublishedPort& port, UniqueFd guard) {
    taken[{port.protocol, port.host_port}].emplace(port.host_address, std::move(guard));
    ++count;
  }
  void remove(const PublishedPort& port) {
    auto found = taken.find({port.protocol, port.host_port});
    if (found == taken.end() || !found->second.erase(port.host_address)) return;
    --count;
    if (found->second.empty()) taken.erase(found);
  }
  Result<> take_one(PublishedPort& port);
};

// Binding a socket takes microseconds and never waits, so it is done under the lock.
Result<> PortTable::State::take_one(PublishedPort& port) {
  if (port.host_port) {
    if (!is_free(port)) return already_allocated(port);
    auto guard = open_guard(port.protocol, port.host_address, port.host_port);
    if (!guard) return cannot_bind(port, guard.error());
    add(port, std::move(*guard));
    return {};
  }
  if (!range) range = local_port_range();
  uint32_t span = uint32_t{range->last} - range->first + 1;
  uint16_t& last = cursor[port.protocol];
  PublishedPort candidate = port;
  for (uint32_t tries = 0; tries < span; ++tries) {
    last = last < range->first || last >= range->last ? range->first : static_cast<uint16_t>(last + 1);
    candidate.host_port = last;
    if (!is_free(candidate)) continue;
    auto guard = open_guard(candidate.protocol, candidate.host_address, candidate.host_port);
    if (!guard && guard.error().err == EADDRINUSE) continue;
    if (!guard) return cannot_bind(candidate, guard.error());
    add(candidate, std::move(*guard));
    port = candidate;
    return {};
  }
  return fail(ErrorKind::kExhausted, "no free host port between %u and %u", range->first, range->last);
}

PortTable::PortTable() : state_(std::make_unique<State>()) {}
PortTable::~PortTable() = default;

Result<> PortTable::take(std::vector<PublishedPort>& ports) {
  std::lock_guard lock(state_->mutex);
  std::vector<PublishedPort> wanted = ports;
  for (size_t i = 0; i < wanted.size(); ++i) {
    auto taken = state_->take_one(wanted[i]);
    if (taken) continue;
    for (size_t done = 0; done < i; ++done) state_->remove(wanted[done]);
    return taken;
  }
  ports = std::move(wanted);
  return {};
}

Result<> PortTable::take_back(const std::vector<PublishedPort>& ports) {
  std::lock_guard lock(state_->mutex);
  for (size_t i = 0; i < ports.size(); ++i) {
    if (!state_->is_free(ports[i])) {
      for (size_t done = 0; done < i; ++done) state_->remove(ports[done]);
      return already_allocated(ports[i]);
    }
    auto guard = open_guard(ports[i].protocol, ports[i].host_address, ports[i].host_port);
    if (!guard) {
      log_warn("%s, ignoring", cannot_bind(ports[i], guard.error()).error().message.c_str());
      guard = UniqueFd();
    }
    state_->add(ports[i], std::move(*guard));
  }
  return {};
}

void PortTable::release(const std::vector<PublishedPort>& ports) {
  std::lock_guard lock(state_->mutex);
  for (const auto& port : ports) state_->remove(port);
}

size_t PortTable::size() const {
  std::lock_guard lock(state_->mutex);
  return state_->count;
}

}  // namespace caisson::network
