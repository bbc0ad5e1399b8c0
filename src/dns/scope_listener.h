// SPDX-License-Identifier: Apache-2.0
// The two sockets of one container: queries in, replies out, over UDP in batches and over TCP with a bounded
// number of clients. What the answers are is the handler's affair.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/event_loop.h"
#include "wire/dns_message.h"

namespace caisson::dns {

class QueryHandler {
 public:
  using Done = std::move_only_function<void(std::string reply)>;
  virtual ~QueryHandler() = default;
  // nullopt: to be forwarded.
  virtual std::optional<std::string> answer(uint64_t scope, const Query& query, size_t limit) = 0;
  // Calls `done` once, perhaps before it returns; never after the scope has been removed.
  virtual void forward(uint64_t scope, Query query, bool tcp, Done done) = 0;
};

// What the listeners of all scopes have in common.
struct ListenerShared {
  ListenerShared();
  static constexpr size_t kBatch = 16;
  static constexpr size_t kMaxTcpClients = 512;
  std::unique_ptr<char[]> datagrams;  // kBatch of kMaxUdpSize each
  std::unique_ptr<char[]> stream;     // kMaxTcpSize
  size_t tcp_clients = 0;
};

class ScopeListener {
 public:
  ScopeListener(sys::EventLoop& loop, ListenerShared& shared, QueryHandler& handler, uint64_t scope, int udp, int tcp);
  ~ScopeListener();
  ScopeListener(const ScopeListener&) = delete;
  ScopeListener& operator=(const ScopeListener&) = delete;
  Result<> start();

  static constexpr size_t kMaxTcpPerScope = 64;
  static constexpr size_t kMaxPipelined = 16;
  static constexpr int64_t kTcpIdleMs = 15000;

 private:
  struct Client {
    UniqueFd fd;
    std::string in, out;
    size_t outstanding = 0;
    bool ended = false;    // has closed its side
    bool serving = false;  // serve() is at work
    uint32_t events = 0;
    sys::EventLoop::TimerId timer = 0;
  };
  using Clients = std::map<uint64_t, Client>;

  // What to do next: send `reply`, wait until `later` is called (it may have been already), or nothing at all.
  enum class Met : uint8_t { kReply, kLater, kNothing };
  Met meet(std::string_view message, bool tcp, std::string& reply, QueryHandler::Done later);
  void on_datagrams();
  void on_accept();
  void pause_accepting();
  void on_client(uint64_t number, uint32_t events);
  bool read_from(Client& client);
  void serve(uint64_t number);
  void reply_to(uint64_t number, std::string reply);
  bool flush(Client& client);
  void update_events(uint64_t number);
  void restart_timer(uint64_t number, Client& client);
  void close_client(uint64_t number);

  sys::EventLoop& loop_;
  ListenerShared& shared_;
  QueryHandler& handler_;
  uint64_t scope_;
  int udp_, tcp_;
  Clients clients_;
  uint64_t next_client_ = 1;
  sys::EventLoop::TimerId pause_ = 0;
};

}  // namespace caisson::dns
