// SPDX-License-Identifier: Apache-2.0
// The forwarder's transport: sockets of this program for servers that the host asks, sockets that came from the
// engine, made inside a container's network namespace, for all others.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/unique_fd.h"
#include "dns/forwarder.h"
#include "sys/event_loop.h"

namespace caisson::dns {

class QuerySockets : public QueryTransport {
 public:
  explicit QuerySockets(sys::EventLoop& loop);
  ~QuerySockets() override;
  void report_to(Forwarder& forwarder) { forwarder_ = &forwarder; }

  // Sockets inside the namespace of a scope; the caller's until remove_scope().
  void add_scope(uint64_t scope, const std::vector<UniqueFd>& sockets);
  void remove_scope(uint64_t scope);

  bool send(uint64_t attempt, uint64_t scope, const Upstream& upstream, bool tcp, std::string_view query) override;
  void drop(uint64_t attempt) override;

 private:
  // Shared by many queries: they are told apart by the server's address and the query's id. Its port changes
  // whenever nobody waits on it.
  struct Shared {
    int fd = -1;
    int family = 0;
    std::map<std::pair<Upstream, uint16_t>, uint64_t> waiting;
  };
  // TCP sockets of one family, each for one query at a time.
  struct Streams {
    size_t count = 0;
    std::vector<int> free;
    std::deque<uint64_t> queue;  // attempts
  };
  struct Scope {
    std::vector<std::unique_ptr<Shared>> datagram;
    Streams v4, v6;
    Streams& stream(int family);
  };
  struct Attempt {
    UniqueFd own;        // of the host's namespace
    int fd = -1;         // own or borrowed; -1: shared, or in a queue
    uint64_t scope = 0;  // a borrowed one goes back there
    int family = 0;
    Upstream to;
    Shared* shared = nullptr;
    std::pair<Upstream, uint16_t> shared_key;
    bool tcp = false, connected = false;
    std::string out, in;  // out: not sent yet
  };
  using Attempts = std::unordered_map<uint64_t, Attempt>;

  bool send_shared(Attempt& attempt, uint64_t number, Scope& scope, std::string_view query);
  bool open_own(Attempt& attempt, const Upstream& upstream);
  bool send_stream(Attempt attempt, uint64_t number, Scope& scope);
  bool start(Attempt attempt, uint64_t number);
  void serve_queue(uint64_t scope_number, int family);
  void on_datagram(uint64_t number);
  void on_stream(uint64_t number, uint32_t events);
  void on_shared(Shared& shared, uint32_t events);
  void read_errors(Shared& shared);
  bool flush(Attempt& attempt);

  sys::EventLoop& loop_;
  Forwarder* forwarder_ = nullptr;
  std::unordered_map<uint64_t, Scope> scopes_;
  Attempts attempts_;
  std::unique_ptr<char[]> buffer_;
};

}  // namespace caisson::dns
