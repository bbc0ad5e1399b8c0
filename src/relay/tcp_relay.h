// SPDX-License-Identifier: Apache-2.0
// TCP: accepts what rules have led to the one listener, finds out which published port was meant, connects to the
// container and moves bytes both ways until both sides have ended.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "base/result.h"
#include "base/unique_fd.h"
#include "relay/pump.h"
#include "relay/table.h"
#include "sys/event_loop.h"

namespace caisson::relay {

struct TcpLimits {
  size_t connections = 4096;  // those beyond are reset
  int64_t connect_ms = 60000;
};

// Where an accepted connection was headed before a rule redirected it; nullopt: the kernel does not know.
using OriginalDestination = std::function<std::optional<Endpoint>(int socket)>;
std::optional<Endpoint> original_destination(int socket);

class TcpRelay {
 public:
  TcpRelay(sys::EventLoop& loop, const Table& table, TcpLimits limits, OriginalDestination original);
  ~TcpRelay();
  TcpRelay(const TcpRelay&) = delete;
  TcpRelay& operator=(const TcpRelay&) = delete;

  Result<> take_listener(UniqueFd listener);
  Result<> serve();  // accepts from now on; without a listener nothing happens
  int listener() const { return listener_.get(); }
  void drop(uint64_t entry);  // resets its connections
  size_t connections() const { return connections_.size(); }

 private:
  struct Connection {
    explicit Connection(PipePool& pool) : to_container(pool), to_client(pool) {}
    uint64_t entry = 0;
    Side client, container;
    Pump to_container, to_client;
    bool connected = false;
    bool queued = false;  // runs again soon
    sys::EventLoop::TimerId timer = 0;
  };
  using Connections = std::map<uint64_t, std::unique_ptr<Connection>>;

  void on_listener();
  void pause_accepting();
  void meet(UniqueFd client);
  Result<> begin(UniqueFd client, const Table::Found& target);
  void on_event(uint64_t number, bool from_client, uint32_t events);
  bool finish_connecting(uint64_t number, Connection& connection);
  void run(uint64_t number, Connection& connection);
  void close(Connections::iterator found, bool reset);

  sys::EventLoop& loop_;
  const Table& table_;
  TcpLimits limits_;
  OriginalDestination original_;
  UniqueFd listener_;
  bool serving_ = false;
  uint16_t own_port_ = 0;
  PipePool pool_;
  Connections connections_;
  uint64_t next_number_ = 1;
  sys::EventLoop::TimerId pause_ = 0;
};

}  // namespace caisson::relay
