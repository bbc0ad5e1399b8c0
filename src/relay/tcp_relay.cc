// SPDX-License-Identifier: Apache-2.0
#include "relay/tcp_relay.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstring>
#include <utility>

#include "base/log.h"
#include "sys/unix_socket.h"

namespace caisson::relay {
namespace {
// IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h, which does not go together with netinet/in.h.
constexpr int kOriginalDestination = 80;
constexpr int kAcceptsPerEvent = 32;
constexpr int64_t kAcceptPauseMs = 200;
// A peer that is gone for good is noticed after some 7 minutes.
constexpr int kKeepIdleSeconds = 300, kKeepIntervalSeconds = 30, kKeepProbes = 4;

void set_option(int fd, int level, int name, int value) {
  // None that a connection could not do without.
  (void)setsockopt(fd, level, name, &value, sizeof value);
}

void tune(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepIdleSeconds);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepIntervalSeconds);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepProbes);
}

void reset_on_close(int fd) {
  linger at_once{1, 0};
  (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

Result<uint16_t> port_of(int fd) {
  sockaddr_in6 at{};
  socklen_t size = sizeof at;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) < 0) return fail_errno("getsockname");
  if (at.sin6_family != AF_INET6) return fail(ErrorKind::kInvalid, "listener: not an IPv6 socket");
  return ntohs(at.sin6_port);
}

Result<> check_listener(int fd) {
  int listening = 0;
  socklen_t size = sizeof listening;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0) return fail_errno("getsockopt SO_ACCEPTCONN");
  if (!listening) return fail(ErrorKind::kInvalid, "listener: not a listening socket");
  return {};
}
}  // namespace

std::optional<Endpoint> original_destination(int socket) {
  sockaddr_in6 at{};
  socklen_t size = sizeof at;
  if (getsockopt(socket, SOL_IPV6, kOriginalDestination, &at, &size) < 0) return std::nullopt;
  Endpoint out{.port = ntohs(at.sin6_port)};
  memcpy(out.address.data(), &at.sin6_addr, out.address.size());
  return out;
}

TcpRelay::TcpRelay(sys::EventLoop& loop, const Table& table, TcpLimits limits, OriginalDestination original)
    : loop_(loop), table_(table), limits_(limits), original_(std::move(original)) {}

TcpRelay::~TcpRelay() {
  while (!connections_.empty()) close(connections_.begin(), true);
  loop_.cancel(pause_);
  if (serving_) loop_.remove(listener_.get());
}

Result<> TcpRelay::take_listener(UniqueFd listener) {
  TRY(check_listener(listener.get()));
  uint16_t port = TRY(port_of(listener.get()));
  TRY(sys::set_nonblocking(listener.get(), true));
  if (serving_) loop_.remove(listener_.get());
  serving_ = false;
  listener_ = std::move(listener);
  own_port_ = port;
  return {};
}

Result<> TcpRelay::serve() {
  if (!listener_ || serving_) return {};
  TRY(loop_.add(listener_.get(), EPOLLIN, [this](uint32_t) { on_listener(); }));
  serving_ = true;
  return {};
}

void TcpRelay::on_listener() {
  for (int i = 0; i < kAcceptsPerEvent; ++i) {
    UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
      return pause_accepting();
    if (!client && errno == EAGAIN) return;
    if (client) meet(std::move(client));
  }
}

void TcpRelay::pause_accepting() {
  loop_.remove(listener_.get());
  loop_.cancel(pause_);
  pause_ = loop_.after_ms(kAcceptPauseMs, [this] {
    auto added = loop_.add(listener_.get(), EPOLLIN, [this](uint32_t) { on_listener(); });
    if (!added) pause_accepting();
  });
}

void TcpRelay::meet(UniqueFd client) {
  auto meant = original_(client.get());
  // Straight to our own port came nobody's customer.
  std::optional<Table::Found> target;
  if (meant && meant->port != own_port_) target = table_.find(false, *meant);
  if (!target || connections_.size() >= limits_.connections) return reset_on_close(client.get());
  int raw = client.get();
  if (auto begun = begin(std::move(client), *target); !begun)
    log_debug("relay: connection %d: %s", raw, begun.error().message.c_str());
}

Result<> TcpRelay::begin(UniqueFd client, const Table::Found& target) {
  SocketAddress address = socket_address(target.container);
  auto refuse = [&](Error why) -> Result<> {
    reset_on_close(client.get());
    return std::unexpected(std::move(why));
  };
  UniqueFd container(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!container) return refuse(fail_errno("socket").error());
  tune(client.get());
  tune(container.get());
  if (connect(container.get(), address.get(), address.size) < 0 && errno != EINPROGRESS)
    return refuse(fail_errno("connect").error());
  uint64_t number = next_number_++;
  auto watch = [&](int fd, bool is_client) -> Result<> {
    return loop_.add(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                     [this, number, is_client](uint32_t events) { on_event(number, is_client, events); });
  };
  if (auto added = watch(container.get(), false); !added) return refuse(added.error());
  if (auto added = watch(client.get(), true); !added) {
    loop_.remove(container.get());
    return refuse(added.error());
  }
  auto connection = std::make_unique<Connection>(pool_);
  connection->entry = target.number;
  connection->client.fd = std::move(client);
  connection->container.fd = std::move(container);
  connection->timer = loop_.after_ms(limits_.connect_ms, [this, number] {
    if (auto found = connections_.find(number); found != connections_.end()) close(found, true);
  });
  connections_[number] = std::move(connection);
  return {};
}

void TcpRelay::on_event(uint64_t number, bool from_client, uint32_t events) {
  auto found = connections_.find(number);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  Side& side = from_client ? connection.client : connection.container;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) side.readable = true;
  if (events & (EPOLLOUT | EPOLLHUP)) side.writable = true;
  // What was on its way from a side that has reset is lost, as it would be without us.
  if (events & EPOLLERR) return close(found, true);
  if (!connection.connected && (from_client || !finish_connecting(number, connection))) return;
  if (!connection.queued) run(number, connection);
}

// False: not yet, or the connection is gone.
bool TcpRelay::finish_connecting(uint64_t number, Connection& connection) {
  if (!connection.container.writable) return false;
  int problem = 0;
  socklen_t size = sizeof problem;
  if (getsockopt(connection.container.fd.get(), SOL_SOCKET, SO_ERROR, &problem, &size) < 0 || problem != 0) {
    close(connections_.find(number), true);
    return false;
  }
  loop_.cancel(connection.timer);
  connection.timer = 0;
  connection.connected = true;
  return true;
}

void TcpRelay::run(uint64_t number, Connection& connection) {
  auto there = connection.to_container.run(connection.client, connection.container);
  auto back = connection.to_client.run(connection.container, connection.client);
  bool broken = there == Pump::Outcome::kBroken || back == Pump::Outcome::kBroken;
  if (broken || (connection.to_container.finished() && connection.to_client.finished()))
    return close(connections_.find(number), broken);
  if (there != Pump::Outcome::kMore && back != Pump::Outcome::kMore) return;
  // Edges tell of what is new only; the others have their turn first.
  connection.queued = true;
  loop_.post([this, number] {
    auto found = connections_.find(number);
    if (found == connections_.end()) return;
    found->second->queued = false;
    run(number, *found->second);
  });
}

void TcpRelay::close(Connections::iterator found, bool reset) {
  Connection& connection = *found->second;
  loop_.cancel(connection.timer);
  for (Side* side : {&connection.client, &connection.container}) {
    loop_.remove(side->fd.get());
    if (reset) reset_on_close(side->fd.get());
  }
  connections_.erase(found);
}

void TcpRelay::drop(uint64_t entry) {
  for (auto at = connections_.begin(); at != connections_.end();) {
    auto next = std::next(at);
    if (at->second->entry == entry) close(at, true);
    at = next;
  }
}

}  // namespace caisson::relay
