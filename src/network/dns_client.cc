// SPDX-License-Identifier: Apache-2.0
#include "network/dns_client.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <mutex>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "network/dns_requests.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace caisson::network {
namespace {

constexpr int kAnswerMs = 2000;  // an answer takes microseconds; a machine that swaps may take longer
constexpr int kEndMs = 2000, kLastStepsMs = 500;
constexpr int64_t kRestartPauseMs = 1000;  // a program that dies at once is not started in a tight loop

struct Connection {
  UniqueFd socket, pidfd;
  pid_t pid = 0;
};

Result<DnsReply> ask_over(int socket, const DnsRequest& request) {
  std::string text = json::encode(request.body);
  if (text.size() > dns::kMaxControlMessage)
    return fail(ErrorKind::kExhausted, "request '%s' of %zu bytes", request.body.type.c_str(), text.size());
  TRY(sys::send_message(socket, text, request.fds));
  TRY(sys::wait_readable(socket, kAnswerMs));
  auto message = TRY(sys::receive_message(socket, dns::kMaxControlMessage));
  if (message.data.empty()) return fail(ErrorKind::kUnavailable, "caisson-dns has closed the connection");
  DnsReply reply;
  reply.body = TRY(json::decode<dns::ControlAnswer>(message.data));
  reply.fds = std::move(message.fds);
  return reply;
}

Result<> hello(int socket) {
  auto reply = TRY(ask_over(socket, {.body = {.type = "hello"}}));
  if (!reply.body.ok) return fail(ErrorKind::kUnavailable, "%s", reply.body.error.c_str());
  if (reply.body.version != dns::kControlVersion)
    return fail(ErrorKind::kUnsupported, "caisson-dns of another release, protocol %d", reply.body.version);
  return {};
}

void end_process(const UniqueFd& pidfd) {
  if (!pidfd) return;
  (void)sys::signal_pidfd(pidfd.get(), SIGKILL).has_value();
  if (auto ended = sys::wait_readable(pidfd.get(), kEndMs); !ended)
    log_warn("embedded DNS: caisson-dns does not end: %s", ended.error().message.c_str());
  (void)sys::reap_child(pidfd.get()).has_value();
}

// kUnavailable: nobody answers there.
Result<Connection> find_program(const std::string& path) {
  auto socket = sys::connect_unix(path, SOCK_SEQPACKET);
  if (!socket) return fail(ErrorKind::kUnavailable, "no caisson-dns at '%s'", path.c_str());
  Connection found{.socket = std::move(*socket)};
  found.pid = TRY(sys::peer_credentials(found.socket.get())).pid;
  found.pidfd = TRY(sys::open_pidfd(found.pid));
  if (auto met = hello(found.socket.get()); !met) {
    log_warn("embedded DNS: %s; starting a new one", met.error().message.c_str());
    end_process(found.pidfd);
    return fail(ErrorKind::kUnavailable, "no caisson-dns of this release at '%s'", path.c_str());
  }
  return found;
}

Result<Connection> start_program(const DnsClientConfig& config) {
  auto sockets = TRY(sys::socket_pair(SOCK_SEQPACKET));
  sys::SpawnRequest spawn;
  spawn.program = config.program;
  spawn.args = {"caisson-dns", "--socket", config.socket_path};
  spawn.fds = {{sockets.second.get(), dns::kControlFd}};
  spawn.new_session = true;
  auto child = sys::spawn(spawn);
  if (!child) {
    Error error = std::move(child).error();
    error.kind = ErrorKind::kUnavailable;
    return std::unexpected(std::move(error));
  }
  sockets.second.reset();
  if (auto met = hello(sockets.first.get()); !met) {
    end_process(child->pidfd);
    return fail(ErrorKind::kUnavailable, "starting caisson-dns: %s", met.error().message.c_str());
  }
  return Connection{std::move(sockets.first), std::move(child->pidfd), child->pid};
}

class Client final : public DnsClient {
 public:
  explicit Client(DnsClientConfig config) : config_(std::move(config)) {}
  ~Client() override;
  Result<> start_watching();

  Result<> ensure() override;
  Result<> attach(DnsScope scope, DnsSockets sockets) override;
  Result<bool> resume(DnsScope scope) override;
  Result<> finish_restore() override;
  Result<> change_scope(DnsScope scope) override;
  void detach(const std::string& scope_id) override;
  Result<> add(DnsEndpoint endpoint) override;
  void remove(const std::string& network_id, const std::string& endpoint_id) override;
  Result<> set_upstreams(std::vector<DnsUpstream> upstreams) override;
  pid_t program_pid() override;

 private:
  struct Served {
    DnsScope scope;
    DnsSockets sockets;
  };

  // All of these with mutex_ held, which guards what is below and lets one request at a time through.
  Result<> connect(bool may_start);
  Result<DnsReply> ask(const DnsRequest& request, bool may_start = true);
  Result<> order(const DnsRequest& request, bool may_start = true);
  void order_if_there(const DnsRequest& request);
  void repeat_everything();
  void disconnect(bool hangs);

  void watch();
  void recover();
  void wake_watcher();

  DnsClientConfig config_;
  std::mutex mutex_;
  Connection connection_;
  std::map<std::string, Served> scopes_;
  std::map<std::pair<std::string, std::string>, DnsEndpoint> endpoints_;
  std::optional<std::vector<DnsUpstream>> upstreams_;
  bool restored_ = false;
  bool stopping_ = false;
  int64_t started_ns_ = 0;

  UniqueFd wake_;
  std::thread watcher_;
};

Client::~Client() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_watcher();
  if (watcher_.joinable()) watcher_.join();
}

Result<> Client::start_watching() {
  wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return fail_errno("eventfd");
  watcher_ = std::thread([this] { watch(); });
  return {};
}

void Client::wake_watcher() {
  uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
}

// Notices a program that has died while nobody asks it anything: containers need it now, not at the next call.
void Client::watch() {
  for (;;) {
    UniqueFd socket;
    bool wanting = false;
    int64_t pause_ms = -1;
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
      if (connection_.socket) {
        socket.reset(fcntl(connection_.socket.get(), F_DUPFD_CLOEXEC, 0));
      } else if (!scopes_.empty()) {
        wanting = true;
        pause_ms = std::max<int64_t>(0, kRestartPauseMs - (monotonic_ns() - started_ns_) / 1'000'000);
      }
    }
    pollfd entries[2] = {{wake_.get(), POLLIN, 0}, {socket.get(), 0, 0}};
    int ready = poll(entries, 2, static_cast<int>(pause_ms));
    if (entries[0].revents) {
      uint64_t drained;
      (void)!read(wake_.get(), &drained, sizeof drained);
    } else if (ready > 0 || wanting) {
      recover();
    }
  }
}

void Client::recover() {
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  // Somebody may have been faster.
  if (connection_.socket) {
    pollfd entry{connection_.socket.get(), 0, 0};
    if (poll(&entry, 1, 0) <= 0) return;
    disconnect(false);
  }
  if (scopes_.empty() || (monotonic_ns() - started_ns_) / 1'000'000 < kRestartPauseMs) return;
  if (auto connected = connect(true); !connected) log_warn("%s", connected.error().message.c_str());
}

void Client::disconnect(bool hangs) {
  connection_.socket.reset();
  // A process closes its sockets a moment before it has ended; one that only hung up is of no use either.
  if (!hangs && connection_.pidfd) (void)sys::wait_readable(connection_.pidfd.get(), kLastStepsMs).has_value();
  end_process(connection_.pidfd);
  connection_ = {};
  wake_watcher();
}

Result<> Client::connect(bool may_start) {
  if (connection_.socket) return {};
  auto found = find_program(config_.socket_path);
  bool fresh = !found && may_start;
  if (fresh) {
    started_ns_ = monotonic_ns();
    found = start_program(config_);
  }
  if (!found) return with_context(std::move(found).error(), "embedded DNS");
  connection_ = std::move(*found);
  log_debug("embedded DNS: %s caisson-dns, pid %d", fresh ? "started" : "found", connection_.pid);
  repeat_everything();
  if (!connection_.socket) return fail(ErrorKind::kUnavailable, "embedded DNS: caisson-dns does not answer");
  wake_watcher();
  return {};
}

void Client::repeat_everything() {
  auto tell = [&](const DnsRequest& request) {
    if (!connection_.socket) return;
    auto reply = ask_over(connection_.socket.get(), request);
    if (!reply)
      disconnect(true);
    else if (!reply->body.ok)
      log_warn("embedded DNS: %s", reply->body.error.c_str());
  };
  if (upstreams_) tell(request_of_upstreams(*upstreams_));
  for (const auto& [key, endpoint] : endpoints_) tell(request_of(endpoint));
  for (const auto& [id, served] : scopes_) tell(request_of("attach", served.scope, &served.sockets));
  if (restored_) tell({.body = {.type = "sync"}});
}

Result<DnsReply> Client::ask(const DnsRequest& request, bool may_start) {
  // Twice: the first failure may be that of a program that died a while ago.
  for (bool again : {false, true}) {
    TRY(connect(may_start));
    auto reply = ask_over(connection_.socket.get(), request);
    if (reply) return reply;
    if (reply.error().kind == ErrorKind::kExhausted) return with_context(std::move(reply).error(), "embedded DNS");
    disconnect(true);
    if (again) return with_context(std::move(reply).error(), "embedded DNS");
  }
  return fail(ErrorKind::kInternal, "embedded DNS: not reached");
}

Result<> Client::order(const DnsRequest& request, bool may_start) {
  auto reply = TRY(ask(request, may_start));
  if (reply.body.ok) return {};
  return fail(reply.body.not_found ? ErrorKind::kNotFound : ErrorKind::kInvalid, "embedded DNS: %s",
              reply.body.error.c_str());
}

// What nobody serves needs no program: it is told with everything else when one is started.
void Client::order_if_there(const DnsRequest& request) {
  if (!connect(false)) return;
  if (auto done = order(request, !scopes_.empty()); !done) log_debug("%s, ignoring", done.error().message.c_str());
}

Result<> Client::ensure() {
  std::lock_guard lock(mutex_);
  TRY(connect(true));
  pollfd entry{connection_.socket.get(), 0, 0};
  if (poll(&entry, 1, 0) <= 0) return {};
  disconnect(false);
  return connect(true);
}

Result<> Client::attach(DnsScope scope, DnsSockets sockets) {
  if (!sockets.udp || !sockets.tcp || sockets.query.size() > kMaxQuerySockets)
    return fail(ErrorKind::kInvalid, "embedded DNS: scope '%s': wrong sockets", scope.id.c_str());
  std::lock_guard lock(mutex_);
  TRY(order(request_of("attach", scope, &sockets)));
  std::string id = scope.id;
  scopes_[id] = {std::move(scope), std::move(sockets)};
  return {};
}

Result<bool> Client::resume(DnsScope scope) {
  std::lock_guard lock(mutex_);
  if (!connect(false)) return false;
  auto reply = TRY(ask(request_of("resume", scope, nullptr)));
  if (reply.body.not_found) return false;
  if (!reply.body.ok) return fail(ErrorKind::kInvalid, "embedded DNS: %s", reply.body.error.c_str());
  if (reply.fds.size() < 2) return false;
  Served served;
  served.sockets.udp = std::move(reply.fds[0]);
  served.sockets.tcp = std::move(reply.fds[1]);
  for (size_t i = 2; i < reply.fds.size(); ++i) served.sockets.query.push_back(std::move(reply.fds[i]));
  std::string id = scope.id;
  served.scope = std::move(scope);
  scopes_[id] = std::move(served);
  return true;
}

Result<> Client::finish_restore() {
  std::lock_guard lock(mutex_);
  restored_ = true;
  if (!connect(!scopes_.empty())) return {};
  return order({.body = {.type = "sync"}});
}

Result<> Client::change_scope(DnsScope scope) {
  std::lock_guard lock(mutex_);
  auto found = scopes_.find(scope.id);
  if (found == scopes_.end()) return fail(ErrorKind::kNotFound, "embedded DNS: no such scope '%s'", scope.id.c_str());
  TRY(order(request_of("scope", scope, nullptr)));
  found->second.scope = std::move(scope);
  return {};
}

void Client::detach(const std::string& scope_id) {
  std::lock_guard lock(mutex_);
  scopes_.erase(scope_id);
  order_if_there({.body = {.type = "detach", .scope = scope_id}});
}

Result<> Client::add(DnsEndpoint endpoint) {
  std::lock_guard lock(mutex_);
  if (connect(false)) TRY(order(request_of(endpoint)));
  std::pair key(endpoint.network_id, endpoint.id);
  endpoints_[std::move(key)] = std::move(endpoint);
  return {};
}

void Client::remove(const std::string& network_id, const std::string& endpoint_id) {
  std::lock_guard lock(mutex_);
  endpoints_.erase({network_id, endpoint_id});
  order_if_there({.body = {.type = "remove", .network = network_id, .endpoint = endpoint_id}});
}

Result<> Client::set_upstreams(std::vector<DnsUpstream> upstreams) {
  std::lock_guard lock(mutex_);
  if (connect(false)) TRY(order(request_of_upstreams(upstreams)));
  upstreams_ = std::move(upstreams);
  return {};
}

pid_t Client::program_pid() {
  std::lock_guard lock(mutex_);
  return connection_.pid;
}

}  // namespace

Result<std::unique_ptr<DnsClient>> DnsClient::create(DnsClientConfig config) {
  auto client = std::make_unique<Client>(std::move(config));
  TRY(client->start_watching());
  return client;
}

}  // namespace caisson::network
