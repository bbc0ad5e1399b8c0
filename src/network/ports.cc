// SPDX-License-Identifier: Apache-2.0
#include "network/ports.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "sys/files.h"
#include "sys/netlink_sockets.h"

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

// A range of more ports than this is checked against the host's sockets and then left without guards.
constexpr uint16_t kMaxGuards = 64;

std::unexpected<Error> already_allocated(const PublishedPort& port) {
  return fail(ErrorKind::kConflict, "Bind for %s failed: port is already allocated", port.host().c_str());
}

std::unexpected<Error> cannot_bind(const PublishedPort& port, const Error& why) {
  std::string reason = why.err ? errno_text(why.err) : why.message;
  reason[0] = static_cast<char>(reason[0] | 0x20);  // as Go writes them
  Error error{why.err == EADDRINUSE ? ErrorKind::kConflict : why.kind, why.err, ""};
  error.message =
      format("failed to bind host port for %s:%s:%u/%s: %s", port.host().c_str(), port.container_address.text().c_str(),
             port.container_port, protocol_name(port.protocol), reason.c_str());
  return std::unexpected(std::move(error));
}
}  // namespace

Result<UniqueFd> open_guard(uint8_t protocol, const IpAddress& address, uint16_t port) {
  bool udp = protocol == IPPROTO_UDP;
  UniqueFd fd(socket(address.v6 ? AF_INET6 : AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK,
                     protocol));
  if (!fd && (errno == EPROTONOSUPPORT || errno == EAFNOSUPPORT))
    return fail(ErrorKind::kUnsupported, "the host's kernel has no %s",
                errno == EAFNOSUPPORT ? "IPv6" : protocol_name(protocol));
  if (!fd) return fail_errno("socket");
  sockaddr_storage at{};
  socklen_t size;
  std::string bytes = address.bytes();
  if (address.v6) {
    auto& at6 = reinterpret_cast<sockaddr_in6&>(at);
    at6.sin6_family = AF_INET6;
    memcpy(&at6.sin6_addr, bytes.data(), bytes.size());
    at6.sin6_port = htons(port);
    size = sizeof at6;
  } else {
    auto& at4 = reinterpret_cast<sockaddr_in&>(at);
    at4.sin_family = AF_INET;
    memcpy(&at4.sin_addr, bytes.data(), bytes.size());
    at4.sin_port = htons(port);
    size = sizeof at4;
  }
  int on = 1, off = 0;
  if (address.v6 && setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)
    return fail_errno("IPV6_V6ONLY");
  // With SO_REUSEADDR, connections of an earlier owner in TIME_WAIT do not count as taken.
  if (!udp && setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) return fail_errno("SO_REUSEADDR");
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&at), size) < 0) return fail_errno("bind");
  if (udp) {
    int smallest = 0;  // what misses the DNAT rule is not kept
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &smallest, sizeof smallest);
    return fd;
  }
  if (protocol == IPPROTO_SCTP) return fd;
  // listen() finds listeners of others that also set SO_REUSEADDR (inet_csk_get_port runs again). After
  // that the socket leaves the listening state but keeps the port, and gives up SO_REUSEADDR so that
  // nobody else's bind passes.
  if (listen(fd.get(), 0) < 0) return fail_errno("listen");
  if (shutdown(fd.get(), SHUT_RD) < 0) return fail_errno("shutdown");
  if (setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &off, sizeof off) < 0) return fail_errno("SO_REUSEADDR");
  return fd;
}

struct PortTable::State {
  struct Entry {
    IpAddress address;
    uint16_t last = 0;
    std::string owner;
    std::vector<UniqueFd> guards;
  };
  mutable std::mutex mutex;
  // Per protocol and first port; entries of equal keys differ in their addresses.
  std::map<uint8_t, std::multimap<uint16_t, Entry>> taken;
  uint16_t longest = 1;  // range that was ever taken: how far below a port one that reaches it may begin
  std::map<uint8_t, uint16_t> cursor;
  std::optional<PortRange> range;
  size_t count = 0;

  const Entry* holder_of(const PublishedPort& port) const {
    auto found = taken.find(port.protocol);
    if (found == taken.end()) return nullptr;
    uint16_t lowest = port.host_port > longest ? static_cast<uint16_t>(port.host_port - longest) : 0;
    for (auto at = found->second.lower_bound(lowest); at != found->second.end() && at->first <= port.last_host_port();
         ++at) {
      const Entry& entry = at->second;
      if (entry.last < port.host_port || entry.address.v6 != port.host_address.v6) continue;
      if (entry.address == port.host_address || entry.address.is_any() || port.host_address.is_any()) return &entry;
    }
    return nullptr;
  }
  bool is_free(const PublishedPort& port) const { return !holder_of(port); }
  void add(const PublishedPort& port, const std::string& owner, std::vector<UniqueFd> guards) {
    taken[port.protocol].emplace(port.host_port,
                                 Entry{port.host_address, port.last_host_port(), owner, std::move(guards)});
    longest = std::max(longest, port.count);
    count += port.count;
  }
  void remove(const PublishedPort& port) {
    auto found = taken.find(port.protocol);
    if (found == taken.end()) return;
    auto [at, end] = found->second.equal_range(port.host_port);
    for (; at != end; ++at) {
      if (at->second.address != port.host_address || at->second.last != port.last_host_port()) continue;
      found->second.erase(at);
      count -= port.count;
      return;
    }
  }
  Result<> take(std::vector<PublishedPort>& ports, const std::string& owner, std::string* holder);
  Result<> take_given(const PublishedPort& port, const std::string& owner, std::string* holder);
  Result<> take_chosen(std::vector<PublishedPort>& ports, size_t first, size_t end, const std::string& owner);
};

namespace {

// " by nginx (pid 123)" of the first one that can be found on one of the ports.
std::string name_of_host_program(const std::vector<PublishedPort>& ports) {
  uint32_t inode = 0;
  for (const auto& port : ports)
    for (bool v6 : {port.host_address.v6, !port.host_address.v6}) {
      auto is_there = [&](const sys::BoundSocket& socket) {
        if (inode || port.routed || socket.port < port.host_port || socket.port > port.last_host_port()) return;
        bool meets = socket.address.is_any() || port.host_address.is_any() || socket.address == port.host_address;
        if (meets) inode = socket.inode;
      };
      auto listed = sys::list_bound_sockets(port.protocol, v6, is_there);
      if (!listed) return "";
      if (!inode) continue;
      auto program = sys::program_with_socket(inode);
      return program.empty() ? "" : " by " + program;
    }
  return "";
}

// Nothing of the host's is bound to one of the ports.
Result<> check_unbound(const PublishedPort& port) {
  std::vector<uint16_t> candidates;
  for (bool v6 : {false, true})
    TRY(sys::list_bound_sockets(port.protocol, v6, [&](const sys::BoundSocket& socket) {
      if (socket.port >= port.host_port && socket.port <= port.last_host_port()) candidates.push_back(socket.port);
    }));
  // Whether their addresses and options leave room for ours is best asked of the kernel.
  for (uint16_t candidate : candidates) {
    auto guard = open_guard(port.protocol, port.host_address, candidate);
    if (guard || guard.error().err != EADDRINUSE) continue;
    PublishedPort one = port;
    one.host_port = candidate;
    one.container_port = static_cast<uint16_t>(port.container_port + (candidate - port.host_port));
    return cannot_bind(one, guard.error());
  }
  return {};
}

Result<std::vector<UniqueFd>> open_guards(const PublishedPort& port) {
  std::vector<UniqueFd> guards;
  if (port.count > kMaxGuards) {
    auto unbound = check_unbound(port);
    if (!unbound && unbound.error().kind != ErrorKind::kUnsupported) return std::unexpected(unbound.error());
    return guards;
  }
  for (uint16_t i = 0; i < port.count; ++i) {
    PublishedPort one = port;
    one.host_port = static_cast<uint16_t>(port.host_port + i);
    one.container_port = static_cast<uint16_t>(port.container_port + i);
    auto guard = open_guard(one.protocol, one.host_address, one.host_port);
    if (!guard) return cannot_bind(one, guard.error());
    guards.push_back(std::move(*guard));
  }
  return guards;
}

}  // namespace

// Binding a socket takes microseconds and never waits, so it is done under the lock.
Result<> PortTable::State::take_given(const PublishedPort& port, const std::string& owner, std::string* holder) {
  if (const Entry* entry = holder_of(port)) {
    if (holder) *holder = entry->owner;
    return already_allocated(port);
  }
  add(port, owner, TRY(open_guards(port)));
  return {};
}

// The same port for all of them.
Result<> PortTable::State::take_chosen(std::vector<PublishedPort>& ports, size_t first, size_t end,
                                       const std::string& owner) {
  if (!range) range = local_port_range();
  uint32_t span = uint32_t{range->last} - range->first + 1;
  uint16_t& last = cursor[ports[first].protocol];
  for (uint32_t tries = 0; tries < span; ++tries) {
    last = last < range->first || last >= range->last ? range->first : static_cast<uint16_t>(last + 1);
    for (size_t i = first; i < end; ++i) ports[i].host_port = last;
    size_t at = first;
    while (at < end && is_free(ports[at])) ++at;
    if (at < end) continue;
    std::vector<std::vector<UniqueFd>> guards;
    for (at = first; at < end; ++at) {
      auto opened = open_guards(ports[at]);
      if (!opened && opened.error().err == EADDRINUSE) break;
      guards.push_back(TRY(std::move(opened)));
    }
    if (at < end) continue;
    for (at = first; at < end; ++at) add(ports[at], owner, std::move(guards[at - first]));
    return {};
  }
  return fail(ErrorKind::kExhausted, "no free host port between %u and %u", range->first, range->last);
}

Result<> PortTable::State::take(std::vector<PublishedPort>& ports, const std::string& owner, std::string* holder) {
  std::lock_guard lock(mutex);
  size_t end = 0;
  for (size_t i = 0; i < ports.size(); i = end) {
    end = i + 1;
    if (ports[i].routed) continue;
    Result<> got;
    if (ports[i].host_port) {
      got = take_given(ports[i], owner, holder);
    } else {
      while (end < ports.size() && ports[end].same_as_before) ++end;
      got = take_chosen(ports, i, end, owner);
    }
    if (got) continue;
    for (size_t done = 0; done < i; ++done)
      if (!ports[done].routed) remove(ports[done]);
    return got;
  }
  return {};
}

PortTable::PortTable() : state_(std::make_unique<State>()) {}
PortTable::~PortTable() = default;

Result<> PortTable::take(std::vector<PublishedPort>& ports, const std::string& owner, std::string* holder) {
  std::vector<PublishedPort> wanted = ports;
  auto taken = state_->take(wanted, owner, holder);
  // Without the lock, others go on meanwhile.
  if (!taken && taken.error().err == EADDRINUSE) taken.error().message += name_of_host_program(wanted);
  if (!taken) return taken;
  for (auto& port : wanted) port.same_as_before = false;  // said what it had to say
  ports = std::move(wanted);
  return {};
}

Result<> PortTable::take_back(const std::vector<PublishedPort>& ports, const std::string& owner) {
  std::lock_guard lock(state_->mutex);
  for (size_t i = 0; i < ports.size(); ++i) {
    if (ports[i].routed) continue;
    if (!state_->is_free(ports[i])) {
      for (size_t done = 0; done < i; ++done)
        if (!ports[done].routed) state_->remove(ports[done]);
      return already_allocated(ports[i]);
    }
    auto guards = open_guards(ports[i]);
    // Of IPv6 UDP ports it is the relay that holds them still, most often.
    if (!guards && ports[i].host_address.v6 && ports[i].protocol == IPPROTO_UDP)
      log_debug("%s, ignoring", guards.error().message.c_str());
    else if (!guards)
      log_warn("%s, ignoring", guards.error().message.c_str());
    state_->add(ports[i], owner, guards ? std::move(*guards) : std::vector<UniqueFd>());
  }
  return {};
}

void PortTable::release(const std::vector<PublishedPort>& ports) {
  std::lock_guard lock(state_->mutex);
  for (const auto& port : ports)
    if (!port.routed) state_->remove(port);
}

std::vector<UniqueFd> PortTable::guards_of(const PublishedPort& port) const {
  std::lock_guard lock(state_->mutex);
  std::vector<UniqueFd> copies;
  auto found = state_->taken.find(port.protocol);
  if (found == state_->taken.end()) return copies;
  auto [at, end] = found->second.equal_range(port.host_port);
  for (; at != end; ++at) {
    if (at->second.address != port.host_address || at->second.last != port.last_host_port()) continue;
    for (const auto& guard : at->second.guards) {
      copies.emplace_back(fcntl(guard.get(), F_DUPFD_CLOEXEC, 3));
      if (!copies.back()) return {};
    }
  }
  return copies;
}

size_t PortTable::size() const {
  std::lock_guard lock(state_->mutex);
  return state_->count;
}

}  // namespace caisson::network
