// SPDX-License-Identifier: Apache-2.0
#include "network/gate_client.h"

#include <linux/netfilter.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "sys/nft.h"
#include "sys/process.h"
#include "sys/unix_socket.h"
#include "wire/gate_control.h"

namespace caisson::network {
namespace {

constexpr int kGateAnswerMs = 5000;  // it takes microseconds; a machine that swaps may take longer
constexpr int kGateEndMs = 2000;
constexpr int64_t kGateRestartNs = 1'000'000'000;  // a program that dies at once is not started in a tight loop
// Queues of a network namespace have numbers only. Those below are what people choose.
constexpr uint16_t kFirstQueue = 20000, kQueues = 40000, kTries = 64;

// Engines of one namespace have different tables, so that they seldom meet at one number.
uint16_t queue_of(std::string_view table) {
  uint32_t hash = 2166136261;  // FNV-1a
  for (char c : table) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619;
  return static_cast<uint16_t>(kFirstQueue + hash % kQueues);
}

// Made and deleted in one batch: nobody sees it.
Result<> try_rule(sys::NetlinkSocket& socket, const std::string& table, bool native) {
  sys::NftBatch batch(table + "-try");
  batch.add_table();
  batch.add_chain("gate");
  batch.begin_rule("gate");
  batch.queue(0, native);
  batch.end_rule();
  batch.delete_table();
  return batch.commit(socket, "add a rule that queues packets");
}

Result<bool> has_native_rule(const std::string& table) {
  auto socket = TRY(sys::open_nft_socket());
  if (try_rule(socket, table, true)) return true;
  TRY(try_rule(socket, table, false));
  return false;
}

// A connection with one program.
class GateLink {
 public:
  static Result<std::unique_ptr<GateLink>> find(const std::string& path);
  static Result<std::unique_ptr<GateLink>> start(const GateOptions& options, uint16_t first, uint16_t tries);

  bool same_release() const { return answer_.version == gate::kControlVersion; }
  uint16_t queue() const { return answer_.queue; }
  int socket() const { return socket_.get(); }
  pid_t pid() const { return pid_; }
  void end();  // kills it and waits

 private:
  Result<> hello();

  UniqueFd socket_, pidfd_;
  pid_t pid_ = 0;
  gate::ControlAnswer answer_;
};

Result<std::unique_ptr<GateLink>> GateLink::find(const std::string& path) {
  auto socket = sys::connect_unix(path, SOCK_SEQPACKET);
  if (!socket) return fail(ErrorKind::kUnavailable, "no caisson-gate at '%s'", path.c_str());
  auto link = std::make_unique<GateLink>();
  link->socket_ = std::move(*socket);
  link->pid_ = TRY(sys::peer_credentials(link->socket_.get())).pid;
  link->pidfd_ = TRY(sys::open_pidfd(link->pid_));
  if (auto met = link->hello(); !met) {
    log_warn("gate: %s", met.error().message.c_str());
    link->end();
    return fail(ErrorKind::kUnavailable, "no caisson-gate that answers at '%s'", path.c_str());
  }
  return link;
}

Result<std::unique_ptr<GateLink>> GateLink::start(const GateOptions& options, uint16_t first, uint16_t tries) {
  auto sockets = TRY(sys::socket_pair(SOCK_SEQPACKET));
  sys::SpawnRequest spawn;
  spawn.program = options.program;
  spawn.args = {"caisson-gate",        "--socket", options.socket_path,  "--table", options.table, "--queue",
                std::to_string(first), "--tries",  std::to_string(tries)};
  spawn.fds = {{sockets.second.get(), gate::kControlFd}};
  spawn.new_session = true;
  auto child = TRY(sys::spawn(spawn));
  sockets.second.reset();
  auto link = std::make_unique<GateLink>();
  link->socket_ = std::move(sockets.first);
  link->pidfd_ = std::move(child.pidfd);
  link->pid_ = child.pid;
  auto met = link->hello();
  if (met && !link->same_release()) met = fail(ErrorKind::kUnsupported, "protocol %d", link->answer_.version);
  if (met) return link;
  link->end();
  return with_context(std::move(met).error(), "starting caisson-gate");
}

Result<> GateLink::hello() {
  TRY(sys::send_message(socket_.get(), json::encode(gate::ControlRequest{.type = "hello"})));
  TRY(sys::wait_readable(socket_.get(), kGateAnswerMs));
  auto message = TRY(sys::receive_message(socket_.get(), gate::kMaxControlMessage));
  if (message.data.empty()) return fail(ErrorKind::kUnavailable, "caisson-gate has closed the connection");
  answer_ = TRY(json::decode<gate::ControlAnswer>(message.data));
  if (!answer_.ok) return fail(ErrorKind::kUnavailable, "%s", answer_.error.c_str());
  return {};
}

void GateLink::end() {
  socket_.reset();
  if (!pidfd_) return;
  (void)sys::signal_pidfd(pidfd_.get(), SIGKILL).has_value();
  if (auto ended = sys::wait_readable(pidfd_.get(), kGateEndMs); !ended)
    log_warn("gate: caisson-gate does not end: %s", ended.error().message.c_str());
  (void)sys::reap_child(pidfd_.get()).has_value();
  pidfd_.reset();
}

class GateKeeper final : public GateClient {
 public:
  explicit GateKeeper(GateOptions options) : options_(std::move(options)) {}
  ~GateKeeper() override;
  Result<> begin();
  GateRule rule() const override { return rule_; }

 private:
  void work();
  bool wait(int64_t timeout_ns);  // for the program's end; false: to stop

  GateOptions options_;
  GateRule rule_;
  std::unique_ptr<GateLink> link_;  // the worker's alone, once it runs
  UniqueFd stop_;
  std::thread worker_;
};

GateKeeper::~GateKeeper() {
  if (!worker_.joinable()) return;
  uint64_t one = 1;
  (void)!write(stop_.get(), &one, sizeof one);
  worker_.join();
}

Result<> GateKeeper::begin() {
  stop_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop_) return fail_errno("eventfd");
  auto native = has_native_rule(options_.table);
  if (!native)
    return fail(ErrorKind::kUnsupported,
                "--firewall=honor needs rules that queue packets (nft_queue, or nft_compat with xt_NFQUEUE), "
                "which this kernel does not have: %s",
                native.error().message.c_str());
  rule_.native = *native;
  auto found = GateLink::find(options_.socket_path);
  if (found && !(*found)->same_release()) {
    log_info("gate: a caisson-gate of another release is replaced");
    (*found)->end();
    found = fail(ErrorKind::kUnavailable, "");
  }
  if (!found) {
    found = GateLink::start(options_, queue_of(options_.table), kTries);
    if (!found)
      return fail(ErrorKind::kUnsupported, "--firewall=honor needs queues of packets (nfnetlink_queue): %s",
                  found.error().message.c_str());
  }
  link_ = std::move(*found);
  rule_.queue = link_->queue();
  worker_ = std::thread([this] { work(); });
  return {};
}

bool GateKeeper::wait(int64_t timeout_ns) {
  pollfd entries[] = {{stop_.get(), POLLIN, 0}, {link_ ? link_->socket() : -1, POLLIN, 0}};
  int timeout = timeout_ns < 0 ? -1 : static_cast<int>(timeout_ns / 1'000'000 + 1);
  (void)poll(entries, 2, timeout);
  if (entries[0].revents) return false;
  // It says nothing unasked: this is its end.
  if (link_ && entries[1].revents) {
    log_warn("gate: caisson-gate, pid %d, has ended, starting another", link_->pid());
    link_->end();
    link_.reset();
  }
  return true;
}

void GateKeeper::work() {
  int64_t next_ns = 0;
  for (;;) {
    int64_t now = monotonic_ns();
    if (!wait(link_ ? -1 : std::max<int64_t>(next_ns - now, 0))) return;
    now = monotonic_ns();
    if (link_ || now < next_ns) continue;
    next_ns = now + kGateRestartNs;
    // The rules say that number; meanwhile its ports are refused.
    auto started = GateLink::start(options_, rule_.queue, 1);
    if (started)
      link_ = std::move(*started);
    else
      log_error("gate: published ports are closed to others: %s", started.error().message.c_str());
  }
}

}  // namespace

Result<std::unique_ptr<GateClient>> GateClient::create(GateOptions options) {
  auto client = std::make_unique<GateKeeper>(std::move(options));
  TRY(client->begin());
  return client;
}

void end_gate(const std::string& socket_path) {
  if (auto found = GateLink::find(socket_path)) (*found)->end();
}

}  // namespace caisson::network
