// SPDX-License-Identifier: Apache-2.0
// The server itself: listeners, accepting, deadlines, start and stop.
#include "wire/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "sys/unix_socket.h"
#include "wire/http_server_connection.h"

namespace caisson::http {

namespace {

constexpr int kAcceptBatch = 64;
constexpr int64_t kSweepMs = 250;
constexpr int64_t kAcceptRetryMs = 100;

PeerInfo describe_peer(int fd, const sockaddr_storage& address) {
  PeerInfo peer;
  if (address.ss_family == AF_INET || address.ss_family == AF_INET6) {
    char text[INET6_ADDRSTRLEN] = "";
    if (address.ss_family == AF_INET) {
      const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
      inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
      peer.address = format("%s:%d", text, ntohs(v4.sin_port));
    } else {
      const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
      inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
      peer.address = format("[%s]:%d", text, ntohs(v6.sin6_port));
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    return peer;
  }
  peer.is_unix = true;
  peer.address = "@";
  if (auto credentials = sys::peer_credentials(fd)) {
    peer.pid = credentials->pid;
    peer.uid = credentials->uid;
    peer.gid = credentials->gid;
  }
  return peer;
}

class EpollServer : public Server {
 public:
  explicit EpollServer(std::shared_ptr<ServerCore> core) : core_(std::move(core)) {
    core_->on_connection_gone = [this] { resume_accepting(); };
    core_->start_sweep = [this] { start_sweep(); };
  }

  ~EpollServer() override { shut_down(); }

  Result<> add_listener(UniqueFd listener, bool read_only) override {
    if (!listener) return fail(ErrorKind::kInvalid, "http: no listening socket");
    TRY(sys::set_nonblocking(listener.get(), true));
    core_->loop->post([this, read_only, fd = std::make_shared<UniqueFd>(std::move(listener))] {
      int number = fd->get();
      if (auto added = core_->loop->add(number, EPOLLIN,
                                        [this, number, read_only](uint32_t) { accept_from(number, read_only); });
          !added)
        return log_error("listening: %s", added.error().message.c_str());
      listeners_.push_back(std::move(*fd));
      if (paused_) (void)core_->loop->modify(number, 0);
    });
    return {};
  }

  void adopt(UniqueFd socket, PeerInfo peer) override {
    if (down_ || core_->connections.size() >= static_cast<size_t>(core_->limits.max_connections)) return;
    if (auto set = sys::set_nonblocking(socket.get(), true); !set)
      return log_warn("accepting a connection: %s", set.error().message.c_str());
    begin(std::move(socket), std::move(peer));
  }

  void set_common_headers(Headers headers) override {
    auto fresh = std::make_shared<const Headers>(std::move(headers));
    std::lock_guard lock(core_->mutex);
    core_->common_headers = std::move(fresh);
  }

  sys::EventLoop& loop() override { return *core_->loop; }
  void post(std::move_only_function<void()> task) override { core_->loop->post(std::move(task)); }
  void stop() override { core_->loop->stop(); }

  void run() override {
    core_->loop->run();
    shut_down();
  }

 private:
  void accept_from(int listener, bool read_only) {
    for (int i = 0; i < kAcceptBatch; ++i) {
      if (core_->connections.size() >= static_cast<size_t>(core_->limits.max_connections)) return pause_accepting();
      sockaddr_storage address{};
      socklen_t size = sizeof address;
      UniqueFd fd(accept4(listener, reinterpret_cast<sockaddr*>(&address), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!fd) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
          // The listener would stay readable and the loop would spin.
          log_warn("accepting a connection: %s", errno_text(errno).c_str());
          pause_accepting();
          core_->loop->after_ms(kAcceptRetryMs, [this] { resume_accepting(); });
        }
        return;
      }
      PeerInfo peer = describe_peer(fd.get(), address);
      peer.read_only = read_only;
      begin(std::move(fd), std::move(peer));
    }
  }

  void begin(UniqueFd fd, PeerInfo peer) {
    auto connection = std::make_shared<Connection>(core_, std::move(fd), std::move(peer));
    if (auto started = connection->start(); !started)
      return log_warn("accepting a connection: %s", started.error().message.c_str());
    core_->connections.emplace(connection.get(), std::move(connection));
  }

  void pause_accepting() {
    paused_ = true;
    for (const UniqueFd& listener : listeners_) (void)core_->loop->modify(listener.get(), 0);
  }

  void resume_accepting() {
    if (!paused_) return;
    paused_ = false;
    for (const UniqueFd& listener : listeners_) (void)core_->loop->modify(listener.get(), EPOLLIN);
  }

  // Ticks only while some connection has a deadline: an idle engine does not wake up.
  void start_sweep() {
    if (sweeping_) return;
    sweeping_ = true;
    core_->loop->after_ms(kSweepMs, [this] { sweep(); });
  }

  void sweep() {
    sweeping_ = false;
    // A copy: sweeping closes connections, which leave the map.
    std::vector<std::shared_ptr<Connection>> all;
    for (auto& [key, connection] : core_->connections) all.push_back(connection);
    int64_t now = monotonic_ns();
    bool more = false;
    for (auto& connection : all) {
      connection->on_sweep(now);
      more |= connection->has_deadline();
    }
    if (more) start_sweep();
  }

  void shut_down() {
    if (std::exchange(down_, true)) return;
    for (const UniqueFd& listener : listeners_) core_->loop->remove(listener.get());
    listeners_.clear();
    {
      std::lock_guard lock(core_->mutex);
      core_->stopped = true;
      for (int fd : core_->taken) shutdown(fd, SHUT_RDWR);
    }
    // Handlers may finish their answers; nobody starts a new one.
    core_->pool.stop();
    core_->on_connection_gone = [] {};
    std::vector<std::shared_ptr<Connection>> all;
    for (auto& [key, connection] : core_->connections) all.push_back(connection);
    for (auto& connection : all) connection->close_now();
    core_->connections.clear();
    // A stopped loop runs what was posted and returns.
    core_->down = true;
    core_->loop->stop();
    core_->loop->run();
  }

  std::shared_ptr<ServerCore> core_;
  std::vector<UniqueFd> listeners_;
  bool paused_ = false, sweeping_ = false, down_ = false;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::create(Router router, ServerLimits limits) {
  auto core = std::make_shared<ServerCore>(std::move(router), limits);
  core->loop = TRY(sys::EventLoop::create());
  TRY(core->pool.start());
  return std::make_unique<EpollServer>(std::move(core));
}

}  // namespace caisson::http
