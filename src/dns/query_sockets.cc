// SPDX-License-Identifier: Apache-2.0
#include "dns/query_sockets.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"

namespace caisson::dns {
namespace {

constexpr size_t kBufferSize = kMaxTcpSize;
constexpr int kReadsPerEvent = 32;  // then others get their turn

struct SocketAddress {
  union {
    sockaddr generic;
    sockaddr_in v4;
    sockaddr_in6 v6;
  };
  socklen_t size = 0;
};

int family_of(const Upstream& upstream) { return upstream.address.size == 4 ? AF_INET : AF_INET6; }

SocketAddress socket_address(const Upstream& upstream) {
  SocketAddress out{};
  if (upstream.address.size == 4) {
    out.v4.sin_family = AF_INET;
    out.v4.sin_port = htons(upstream.port);
    memcpy(&out.v4.sin_addr, upstream.address.bytes.data(), 4);
    out.size = sizeof out.v4;
  } else {
    out.v6.sin6_family = AF_INET6;
    out.v6.sin6_port = htons(upstream.port);
    memcpy(&out.v6.sin6_addr, upstream.address.bytes.data(), 16);
    out.size = sizeof out.v6;
  }
  return out;
}

Upstream upstream_at(const SocketAddress& from) {
  Upstream out;
  if (from.generic.sa_family == AF_INET) {
    out.address.size = 4;
    memcpy(out.address.bytes.data(), &from.v4.sin_addr, 4);
    out.port = ntohs(from.v4.sin_port);
  } else {
    out.address.size = 16;
    memcpy(out.address.bytes.data(), &from.v6.sin6_addr, 16);
    out.port = ntohs(from.v6.sin6_port);
  }
  return out;
}

// Takes a socket's peer and, as nobody had bound it, its port: the next use gets another one.
void renew(int fd) {
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  if (connect(fd, &nobody, sizeof nobody) < 0) log_debug("dns: connect to nobody: errno %d, ignoring", errno);
}

int option_of(int fd, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -1 : value;
}

void want_errors(int fd, int family) {
  int on = 1;
  if (family == AF_INET)
    (void)setsockopt(fd, SOL_IP, IP_RECVERR, &on, sizeof on);
  else
    (void)setsockopt(fd, SOL_IPV6, IPV6_RECVERR, &on, sizeof on);
}

std::string framed(std::string_view message) {
  std::string out{static_cast<char>(message.size() >> 8), static_cast<char>(message.size())};
  return out += message;
}

uint16_t id_of(std::string_view message) {
  return static_cast<uint16_t>(static_cast<uint8_t>(message[0]) << 8 | static_cast<uint8_t>(message[1]));
}

}  // namespace

QuerySockets::Streams& QuerySockets::Scope::stream(int family) { return family == AF_INET ? v4 : v6; }

QuerySockets::QuerySockets(sys::EventLoop& loop) : loop_(loop), buffer_(new char[kBufferSize]) {}

QuerySockets::~QuerySockets() {
  for (auto& [number, attempt] : attempts_)
    if (attempt.fd >= 0) loop_.remove(attempt.fd);
  while (!scopes_.empty()) remove_scope(scopes_.begin()->first);
}

void QuerySockets::add_scope(uint64_t number, const std::vector<UniqueFd>& sockets) {
  remove_scope(number);
  Scope& scope = scopes_[number];
  for (const auto& given : sockets) {
    int fd = given.get(), family = option_of(fd, SO_DOMAIN), type = option_of(fd, SO_TYPE);
    if (family != AF_INET && family != AF_INET6) continue;
    if (type == SOCK_STREAM) {
      scope.stream(family).free.push_back(fd);
      ++scope.stream(family).count;
    } else {
      auto shared = std::make_unique<Shared>();
      shared->fd = fd;
      shared->family = family;
      want_errors(fd, family);
      renew(fd);
      auto added = loop_.add(fd, EPOLLIN, [this, raw = shared.get()](uint32_t events) { on_shared(*raw, events); });
      if (!added) continue;
      scope.datagram.push_back(std::move(shared));
    }
  }
}

void QuerySockets::remove_scope(uint64_t number) {
  auto found = scopes_.find(number);
  if (found == scopes_.end()) return;
  for (auto& shared : found->second.datagram) {
    loop_.remove(shared->fd);
    for (auto& [key, attempt] : shared->waiting) attempts_.erase(attempt);
  }
  std::erase_if(attempts_, [&](auto& entry) {
    if (entry.second.scope != number) return false;
    if (entry.second.fd >= 0) loop_.remove(entry.second.fd);
    return true;
  });
  scopes_.erase(found);
}

bool QuerySockets::send(uint64_t number, uint64_t scope_number, const Upstream& upstream, bool tcp,
                        std::string_view query) {
  Attempt attempt;
  attempt.tcp = tcp;
  attempt.family = family_of(upstream);
  if (!upstream.from_host) {
    auto scope = scopes_.find(scope_number);
    if (scope == scopes_.end()) return false;
    if (!tcp) {
      attempt.shared_key = {upstream, id_of(query)};
      return send_shared(attempt, number, scope->second, query);
    }
    attempt.scope = scope_number;
    attempt.to = upstream;
    attempt.out = framed(query);
    return send_stream(std::move(attempt), number, scope->second);
  } else if (!open_own(attempt, upstream)) {
    return false;
  }
  attempt.to = upstream;
  attempt.out = tcp ? framed(query) : std::string(query);
  return start(std::move(attempt), number);
}

bool QuerySockets::send_shared(Attempt& attempt, uint64_t number, Scope& scope, std::string_view query) {
  Shared* best = nullptr;
  for (auto& shared : scope.datagram)
    if (shared->family == attempt.family && (!best || shared->waiting.size() < best->waiting.size()))
      best = shared.get();
  if (!best || best->waiting.contains(attempt.shared_key)) return false;
  auto to = socket_address(attempt.shared_key.first);
  if (sendto(best->fd, query.data(), query.size(), MSG_NOSIGNAL, &to.generic, to.size) < 0) {
    // An earlier query's ICMP error is told to whoever comes next.
    if (errno != ECONNREFUSED && errno != EHOSTUNREACH) return false;
    if (sendto(best->fd, query.data(), query.size(), MSG_NOSIGNAL, &to.generic, to.size) < 0) return false;
  }
  best->waiting[attempt.shared_key] = number;
  attempt.shared = best;
  attempts_[number] = std::move(attempt);
  return true;
}

bool QuerySockets::open_own(Attempt& attempt, const Upstream& upstream) {
  int type = (attempt.tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  attempt.own.reset(socket(family_of(upstream), type, 0));
  attempt.fd = attempt.own.get();
  return attempt.fd >= 0;
}

// Streams inside a container are few: a query may have to wait for the one before.
bool QuerySockets::send_stream(Attempt attempt, uint64_t number, Scope& scope) {
  Streams& streams = scope.stream(attempt.family);
  if (streams.count == 0) return false;
  if (streams.free.empty()) {
    streams.queue.push_back(number);
    attempts_[number] = std::move(attempt);
    return true;
  }
  attempt.fd = streams.free.back();
  streams.free.pop_back();
  return start(std::move(attempt), number);
}

bool QuerySockets::start(Attempt given, uint64_t number) {
  Attempt& attempt = attempts_[number] = std::move(given);
  auto to = socket_address(attempt.to);
  bool tcp = attempt.tcp;
  bool going = connect(attempt.fd, &to.generic, to.size) == 0 || (tcp && errno == EINPROGRESS);
  if (going && !tcp) going = ::send(attempt.fd, attempt.out.data(), attempt.out.size(), MSG_NOSIGNAL) >= 0;
  if (going) {
    auto added = loop_.add(attempt.fd, tcp ? EPOLLIN | EPOLLOUT : EPOLLIN, [this, number, tcp](uint32_t events) {
      tcp ? on_stream(number, events) : on_datagram(number);
    });
    going = added.has_value();
  }
  if (!going) drop(number);
  return going;
}

void QuerySockets::drop(uint64_t number) {
  auto node = attempts_.extract(number);
  if (node.empty()) return;
  Attempt& attempt = node.mapped();
  if (Shared* shared = attempt.shared) {
    shared->waiting.erase(attempt.shared_key);
    if (shared->waiting.empty()) renew(shared->fd);
    return;
  }
  if (attempt.fd >= 0) loop_.remove(attempt.fd);
  auto scope = scopes_.find(attempt.scope);
  if (attempt.own || scope == scopes_.end()) return;
  Streams& streams = scope->second.stream(attempt.family);
  if (attempt.fd < 0) {
    std::erase(streams.queue, number);
    return;
  }
  renew(attempt.fd);
  streams.free.push_back(attempt.fd);
  // Not from here: the forwarder is in the middle of something.
  if (!streams.queue.empty())
    loop_.post([this, number = attempt.scope, family = attempt.family] { serve_queue(number, family); });
}

void QuerySockets::serve_queue(uint64_t scope_number, int family) {
  auto scope = scopes_.find(scope_number);
  if (scope == scopes_.end()) return;
  Streams& streams = scope->second.stream(family);
  while (!streams.queue.empty() && !streams.free.empty()) {
    uint64_t number = streams.queue.front();
    streams.queue.pop_front();
    Attempt attempt = std::move(attempts_.extract(number).mapped());
    attempt.fd = streams.free.back();
    streams.free.pop_back();
    if (!start(std::move(attempt), number)) forwarder_->on_failure(number);
  }
}

void QuerySockets::on_datagram(uint64_t number) {
  for (int i = 0; i < kReadsPerEvent; ++i) {
    // Each report may have ended the attempt.
    auto found = attempts_.find(number);
    if (found == attempts_.end()) return;
    ssize_t got = recv(found->second.fd, buffer_.get(), kBufferSize, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got < 0) return forwarder_->on_failure(number);
    forwarder_->on_reply(number, {buffer_.get(), static_cast<size_t>(got)}, false);
  }
}

void QuerySockets::on_shared(Shared& shared, uint32_t events) {
  if (events & EPOLLERR) read_errors(shared);
  for (int i = 0; i < kReadsPerEvent; ++i) {
    SocketAddress from{};
    from.size = sizeof from.v6;
    ssize_t got = recvfrom(shared.fd, buffer_.get(), kBufferSize, MSG_DONTWAIT, &from.generic, &from.size);
    if (got < 0) return;
    if (got < static_cast<ssize_t>(kHeaderSize)) continue;
    std::string_view message(buffer_.get(), static_cast<size_t>(got));
    auto waiting = shared.waiting.find({upstream_at(from), id_of(message)});
    if (waiting != shared.waiting.end()) forwarder_->on_reply(waiting->second, message, false);
  }
}

// ICMP errors: the queue tells for which server, and gives back what was sent to it.
void QuerySockets::read_errors(Shared& shared) {
  for (int i = 0; i < kReadsPerEvent; ++i) {
    SocketAddress to{};
    iovec part{buffer_.get(), kBufferSize};
    msghdr header{};
    header.msg_name = &to.generic;
    header.msg_namelen = sizeof to.v6;
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    ssize_t got = recvmsg(shared.fd, &header, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (got < 0) return;
    // Without the query's id: ICMP need not carry more than the first bytes.
    Upstream upstream = upstream_at(to);
    std::vector<uint64_t> failed;
    auto entry = shared.waiting.lower_bound({upstream, 0});
    for (; entry != shared.waiting.end() && entry->first.first == upstream; ++entry) failed.push_back(entry->second);
    for (uint64_t number : failed) forwarder_->on_failure(number);
  }
}

bool QuerySockets::flush(Attempt& attempt) {
  ssize_t sent = ::send(attempt.fd, attempt.out.data(), attempt.out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0) return errno == EAGAIN || errno == EINTR;
  attempt.out.erase(0, static_cast<size_t>(sent));
  if (attempt.out.empty()) return loop_.modify(attempt.fd, EPOLLIN).has_value();
  return true;
}

void QuerySockets::on_stream(uint64_t number, uint32_t events) {
  Attempt& attempt = attempts_.at(number);
  if (!attempt.connected) {
    int error = option_of(attempt.fd, SO_ERROR);
    if (error != 0 || (events & EPOLLHUP)) return forwarder_->on_failure(number);
    attempt.connected = true;
  }
  if (!attempt.out.empty() && !flush(attempt)) return forwarder_->on_failure(number);
  if (!(events & EPOLLIN)) return;
  ssize_t got = recv(attempt.fd, buffer_.get(), kBufferSize, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return forwarder_->on_failure(number);
  attempt.in.append(buffer_.get(), static_cast<size_t>(got));
  if (attempt.in.size() < 2) return;
  size_t size = id_of(attempt.in);
  if (attempt.in.size() < 2 + size) return;
  std::string message = attempt.in.substr(2, size);
  forwarder_->on_reply(number, message, true);
}

}  // namespace caisson::dns
