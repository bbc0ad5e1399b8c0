// SPDX-License-Identifier: Apache-2.0
#include "network/relay_client.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "network/relay_link.h"

namespace caisson::network {
namespace {

constexpr int64_t kRelayRestartNs = 1'000'000'000;        // a program that dies at once is not started in a tight loop
constexpr int64_t kRelayFailurePauseNs = 10'000'000'000;  // one that cannot be started
constexpr auto kRemovalPatience = std::chrono::seconds(5);
constexpr int kRelayBacklog = 512;
constexpr int kUdpBuffer = 256 << 10;  // the kernel takes off what it does not allow
constexpr int kTurnAwayAtOnce = 64;

// Shared by the table and what is on its way to the program.
using UdpSockets = std::shared_ptr<const std::vector<UniqueFd>>;

struct PortKey {
  uint8_t protocol = 0;
  IpAddress address;
  uint16_t port = 0;
  auto operator<=>(const PortKey&) const = default;
};
PortKey key_of(const RelayEntry& entry) { return {entry.protocol, entry.host_address, entry.first_port}; }

bool overlap(const RelayEntry& a, const RelayEntry& b) {
  return a.protocol == b.protocol && a.host_address == b.host_address && a.first_port < b.first_port + b.count &&
         b.first_port < a.first_port + a.count;
}

std::optional<PortKey> bound_to(int fd) {
  sockaddr_in6 at{};
  socklen_t size = sizeof at;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) < 0 || at.sin6_family != AF_INET6) return std::nullopt;
  auto address = ip_of_bytes({reinterpret_cast<const char*>(&at.sin6_addr), sizeof at.sin6_addr});
  if (!address) return std::nullopt;
  return PortKey{.address = *address, .port = ntohs(at.sin6_port)};
}

Result<UniqueFd> bind_ipv6(int type, const IpAddress& address, uint16_t port) {
  UniqueFd fd(socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("socket");
  int on = 1;
  if (setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0) return fail_errno("setsockopt IPV6_V6ONLY");
  sockaddr_in6 at{};
  at.sin6_family = AF_INET6;
  at.sin6_port = htons(port);
  memcpy(&at.sin6_addr, address.bytes().data(), sizeof at.sin6_addr);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0) return fd;
  auto failure = fail_errno("bind '[%s]:%u'", address.text().c_str(), port);
  if (failure.error().err == EADDRINUSE) failure.error().kind = ErrorKind::kConflict;
  return failure;
}

Result<> check_entry(const RelayEntry& entry) {
  bool udp = entry.protocol == IPPROTO_UDP;
  if (!udp && entry.protocol != IPPROTO_TCP)
    return fail(ErrorKind::kUnsupported, "relay: protocol %u is not carried", entry.protocol);
  auto fits = [&](uint16_t first) { return first && first + entry.count - 1 <= UINT16_MAX; };
  if (!entry.count || !fits(entry.first_port) || !fits(entry.container_port))
    return fail(ErrorKind::kInvalid, "relay: no %u ports from %u and %u on", entry.count, entry.first_port,
                entry.container_port);
  if (!entry.host_address.v6) return fail(ErrorKind::kInvalid, "relay: the host's address is not IPv6");
  if (entry.container_address.is_any()) return fail(ErrorKind::kInvalid, "relay: a container without address");
  if (udp && entry.count > kMaxRelayedUdpRange)
    return fail(ErrorKind::kUnsupported, "relay: more than %u UDP ports in one range are not carried",
                kMaxRelayedUdpRange);
  return {};
}

// Without entries nobody is served, but the kernel has shaken hands already.
void turn_away(int listener) {
  for (int i = 0; i < kTurnAwayAtOnce; ++i) {
    UniqueFd stranger(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!stranger) return;
    linger at_once{1, 0};
    (void)setsockopt(stranger.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
}

class RelayKeeper final : public RelayClient {
 public:
  explicit RelayKeeper(RelayOptions options) : options_(std::move(options)) {}
  ~RelayKeeper() override;
  Result<> begin();

  Result<uint16_t> port() override;
  Result<> add(const RelayEntry& entry, std::vector<UniqueFd> sockets) override;
  void remove(const RelayEntry& entry) override;
  void sync() override;
  pid_t program_pid() override;

 private:
  struct Known {
    RelayEntry entry;
    UdpSockets sockets;
  };
  struct Order {
    enum class What : uint8_t { kAdd, kRemove, kSync } what = What::kSync;
    Known known;
    uint64_t number = 0;
  };
  using Lock = std::unique_lock<std::mutex>;

  // With mutex_ held.
  Result<> open_listener();
  Result<UdpSockets> open_udp(const RelayEntry& entry, std::vector<UniqueFd> given);
  uint64_t tell(Order::What what, Known known = {});
  void need_worker();
  void wake() const;

  // The worker's; they let go of the lock while they talk or wait.
  void work();
  void wait(Lock& lock);
  void deliver(Lock& lock);
  void start(Lock& lock);
  void lose_program(Lock& lock);
  bool obey(RelayLink& link, const Order& order);

  RelayOptions options_;
  std::mutex mutex_;
  std::condition_variable progress_;
  std::map<PortKey, Known> entries_;
  std::map<PortKey, UniqueFd> found_;  // UDP sockets of the program that was found, until sync()
  size_t udp_sockets_ = 0;             // of all entries
  UniqueFd listener_;
  uint16_t port_ = 0;
  std::deque<Order> orders_;
  uint64_t last_order_ = 0, done_order_ = 0;
  bool running_ = false;  // a program is there or being started: it has to be told what changes
  bool stopping_ = false;
  bool watching_ = false;  // the worker waits with copies of UDP sockets in its hands
  pid_t pid_ = 0;
  int64_t start_at_ns_ = 0;
  bool start_early_ = true;  // with the first client; not after a failure

  std::unique_ptr<RelayLink> link_;  // the worker's alone, once it runs
  int64_t started_ns_ = 0;           // likewise
  UniqueFd wake_;
  std::thread worker_;
};

RelayKeeper::~RelayKeeper() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake();
  if (worker_.joinable()) worker_.join();
}

Result<> RelayKeeper::begin() {
  wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return fail_errno("eventfd");
  auto found = RelayLink::find(options_.socket_path);
  if (!found) {
    log_debug("relay: %s", found.error().message.c_str());
    return {};
  }
  auto link = std::move(*found);
  std::lock_guard lock(mutex_);
  listener_ = link->take_listener();
  if (auto key = bound_to(listener_.get())) port_ = key->port;
  auto sockets = link->udp_sockets();
  if (!sockets) {
    log_warn("relay: %s", sockets.error().message.c_str());
    sockets.emplace();
  }
  for (auto& fd : *sockets)
    if (auto key = bound_to(fd.get())) {
      key->protocol = IPPROTO_UDP;
      found_[*key] = std::move(fd);
    }
  if (sockets->size() == link->udp_count() && link->same_release() && port_) {
    log_debug("relay: found caisson-relay, pid %d, port %u", link->pid(), port_);
    pid_ = link->pid();
    running_ = true;
    link_ = std::move(link);
    need_worker();
    return {};
  }
  log_warn("relay: a caisson-relay of another release, or one that hangs, is replaced; its connections end");
  link->end();
  return {};
}

void RelayKeeper::wake() const {
  uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
}

void RelayKeeper::need_worker() {
  if (!worker_.joinable()) worker_ = std::thread([this] { work(); });
}

Result<> RelayKeeper::open_listener() {
  if (port_) return {};
  UniqueFd fd = TRY(bind_ipv6(SOCK_STREAM, any_ip(true), 0));
  if (listen(fd.get(), kRelayBacklog) < 0) return fail_errno("listen");
  auto key = bound_to(fd.get());
  if (!key) return fail_errno("getsockname");
  listener_ = std::move(fd);
  port_ = key->port;
  need_worker();
  return {};
}

Result<uint16_t> RelayKeeper::port() {
  std::lock_guard lock(mutex_);
  TRY_CTX(open_listener(), "relay: opening the listener");
  return port_;
}

Result<UdpSockets> RelayKeeper::open_udp(const RelayEntry& entry, std::vector<UniqueFd> given) {
  if (udp_sockets_ + entry.count > relay::kMaxUdpSockets)
    return fail(ErrorKind::kExhausted, "relay: more than %zu UDP ports", relay::kMaxUdpSockets);
  if (!given.empty() && given.size() != entry.count)
    return fail(ErrorKind::kInvalid, "relay: %zu sockets for %u ports", given.size(), entry.count);
  if (given.empty()) {
    for (uint16_t i = 0; i < entry.count; ++i) {
      auto port = static_cast<uint16_t>(entry.first_port + i);
      if (found_.contains({IPPROTO_UDP, entry.host_address, port}))
        given.emplace_back();
      else
        given.push_back(TRY_CTX(bind_ipv6(SOCK_DGRAM, entry.host_address, port), "relay"));
    }
  }
  // Nothing fails from here on.
  for (uint16_t i = 0; i < entry.count; ++i) {
    auto held = found_.extract({IPPROTO_UDP, entry.host_address, static_cast<uint16_t>(entry.first_port + i)});
    if (!given[i] && held) given[i] = std::move(held.mapped());
    // Guards have the smallest.
    (void)setsockopt(given[i].get(), SOL_SOCKET, SO_RCVBUF, &kUdpBuffer, sizeof kUdpBuffer);
  }
  return std::make_shared<const std::vector<UniqueFd>>(std::move(given));
}

uint64_t RelayKeeper::tell(Order::What what, Known known) {
  if (!running_) return 0;  // it will be told everything
  orders_.push_back({what, std::move(known), ++last_order_});
  wake();
  return last_order_;
}

Result<> RelayKeeper::add(const RelayEntry& entry, std::vector<UniqueFd> sockets) {
  TRY(check_entry(entry));
  std::lock_guard lock(mutex_);
  auto same = entries_.find(key_of(entry));
  if (same != entries_.end() && same->second.entry == entry) return {};
  if (entries_.size() >= relay::kMaxEntries)
    return fail(ErrorKind::kExhausted, "relay: more than %zu entries", relay::kMaxEntries);
  TRY_CTX(open_listener(), "relay: opening the listener");
  Known known{entry, nullptr};
  if (entry.protocol == IPPROTO_UDP) known.sockets = TRY(open_udp(entry, std::move(sockets)));
  // At most one begins before this one and reaches into it.
  auto at = entries_.lower_bound(key_of(entry));
  if (at != entries_.begin() && overlap(std::prev(at)->second.entry, entry)) --at;
  while (at != entries_.end() && overlap(at->second.entry, entry)) {
    if (at->second.sockets) udp_sockets_ -= at->second.sockets->size();
    // The program would not know an entry of its own by a part of it.
    tell(Order::What::kRemove, {at->second.entry, nullptr});
    at = entries_.erase(at);
  }
  if (entries_.empty() && !running_)
    start_at_ns_ = std::max(start_at_ns_, monotonic_ns() + options_.start_delay_ms * 1'000'000);
  if (known.sockets) udp_sockets_ += known.sockets->size();
  bool news = entries_.empty() || known.sockets;  // a time to start at, or sockets to wait at
  entries_[key_of(entry)] = known;
  tell(Order::What::kAdd, std::move(known));
  need_worker();
  if (!running_ && news) wake();
  return {};
}

void RelayKeeper::remove(const RelayEntry& entry) {
  Lock lock(mutex_);
  auto found = entries_.find(key_of(entry));
  if (found == entries_.end() || found->second.entry.count != entry.count) return;
  Known known = std::move(found->second);
  entries_.erase(found);
  bool udp = known.sockets != nullptr;
  if (udp) udp_sockets_ -= known.sockets->size();
  known.sockets.reset();
  uint64_t number = tell(Order::What::kRemove, std::move(known));
  if (!udp) return;
  // Copies keep the ports bound: the program's, or those that the worker watches until there is one.
  if (number) {
    progress_.wait_for(lock, kRemovalPatience, [&] { return done_order_ >= number || !running_; });
  } else if (watching_) {
    wake();
    progress_.wait_for(lock, kRemovalPatience, [&] { return !watching_; });
  }
}

void RelayKeeper::sync() {
  std::lock_guard lock(mutex_);
  found_.clear();
  tell(Order::What::kSync);
}

pid_t RelayKeeper::program_pid() {
  std::lock_guard lock(mutex_);
  return pid_;
}

void RelayKeeper::work() {
  Lock lock(mutex_);
  while (!stopping_) {
    if (link_ && !orders_.empty())
      deliver(lock);
    else if (!link_ && !entries_.empty() && monotonic_ns() >= start_at_ns_)
      start(lock);
    else
      wait(lock);
  }
  // Ports are served while no engine runs.
  while (link_ && !orders_.empty()) deliver(lock);
  if (!link_ && !entries_.empty()) start(lock);
}

void RelayKeeper::wait(Lock& lock) {
  std::vector<pollfd> polled = {{wake_.get(), POLLIN, 0}};
  std::vector<UdpSockets> held;
  int timeout_ms = -1;
  if (link_) {
    polled.push_back({link_->socket(), POLLIN, 0});
  } else {
    if (!entries_.empty())
      timeout_ms = static_cast<int>(std::max<int64_t>(0, start_at_ns_ - monotonic_ns()) / 1'000'000 + 1);
    if (listener_ && (entries_.empty() || start_early_)) {
      polled.push_back({listener_.get(), POLLIN, 0});
      for (const auto& [key, known] : entries_) {
        if (!known.sockets) continue;
        held.push_back(known.sockets);
        for (const auto& fd : *known.sockets) polled.push_back({fd.get(), POLLIN, 0});
      }
    }
  }
  watching_ = !held.empty();
  lock.unlock();
  int ready = poll(polled.data(), polled.size(), timeout_ms);
  uint64_t drained;
  bool woken = polled[0].revents != 0;
  if (woken) (void)!read(wake_.get(), &drained, sizeof drained);
  held.clear();
  lock.lock();
  watching_ = false;
  progress_.notify_all();
  bool other = ready > (woken ? 1 : 0);
  if (!other) return;
  if (link_)
    lose_program(lock);  // it says nothing unasked
  else if (entries_.empty())
    turn_away(listener_.get());
  else
    start_at_ns_ = 0;
}

// False: the program is of no use any more.
bool RelayKeeper::obey(RelayLink& link, const Order& order) {
  Result<> done;
  switch (order.what) {
    case Order::What::kAdd: done = link.add(order.known.entry, order.known.sockets.get()); break;
    case Order::What::kRemove: done = link.remove(order.known.entry); break;
    case Order::What::kSync: done = link.sync(); break;
  }
  if (done) return true;
  log_warn("relay: %s", done.error().message.c_str());
  return done.error().kind == ErrorKind::kInvalid;
}

void RelayKeeper::deliver(Lock& lock) {
  Order order = std::move(orders_.front());
  orders_.pop_front();
  lock.unlock();
  bool good = obey(*link_, order);
  order.known.sockets.reset();
  lock.lock();
  if (!good) return lose_program(lock);
  done_order_ = order.number;
  progress_.notify_all();
}

void RelayKeeper::start(Lock& lock) {
  std::vector<Order> all;
  for (const auto& [key, known] : entries_) all.push_back({Order::What::kAdd, known});
  running_ = true;
  started_ns_ = monotonic_ns();
  lock.unlock();
  auto link = RelayLink::start(options_, listener_.get());
  bool good = link.has_value();
  all.push_back({});  // sync: now it may serve who waits
  for (const Order& order : all) good = good && obey(**link, order);
  all.clear();
  lock.lock();
  if (link) {
    link_ = std::move(*link);
    pid_ = link_->pid();
    log_debug("relay: started caisson-relay, pid %d", pid_);
  } else {
    log_warn("relay: %s", link.error().message.c_str());
  }
  if (!good) lose_program(lock);
}

void RelayKeeper::lose_program(Lock& lock) {
  bool failed_to_start = !link_;
  if (link_) {
    auto link = std::move(link_);
    // Removals wait for this: ports are free only then.
    lock.unlock();
    link->end();
    lock.lock();
  }
  running_ = false;
  pid_ = 0;
  orders_.clear();
  done_order_ = last_order_;
  progress_.notify_all();
  // One without entries has ended because it had nothing to do.
  start_early_ = entries_.empty();
  start_at_ns_ = start_early_ ? 0 : started_ns_ + (failed_to_start ? kRelayFailurePauseNs : kRelayRestartNs);
}

}  // namespace

Result<std::unique_ptr<RelayClient>> RelayClient::create(RelayOptions options) {
  auto client = std::make_unique<RelayKeeper>(std::move(options));
  TRY_CTX(client->begin(), "relay");
  return client;
}

}  // namespace caisson::network
