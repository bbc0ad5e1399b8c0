// SPDX-License-Identifier: Apache-2.0
// The server as a whole: scopes (one per container) with their sockets, zones, and the forwarder, changed by the
// engine's requests. One thread, the loop's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "dns/answer.h"
#include "dns/forwarder.h"
#include "dns/query_sockets.h"
#include "dns/scope_listener.h"
#include "dns/zones.h"
#include "sys/event_loop.h"
#include "wire/dns_control.h"

namespace caisson::dns {

class Service : private QueryHandler {
 public:
  Service(sys::EventLoop& loop, Clock& clock);
  ~Service() override;

  // Carries out one request. `fds` came with it; `answer_fds` go with the answer and stay ours.
  ControlAnswer apply(const ControlRequest& request, std::vector<UniqueFd>& fds, std::vector<int>& answer_fds);
  size_t scopes() const { return scopes_.size(); }

 private:
  struct Scope {
    uint64_t number = 0, cache_space = 0, generation = 0;
    View view;
    std::optional<std::vector<Upstream>> upstreams;
    bool forward = false, ndots_set = false;
    UniqueFd udp, tcp;
    std::vector<UniqueFd> query;
    bool asks_v4 = false, asks_v6 = false;  // what `query` is for
    std::unique_ptr<ScopeListener> listener;
  };

  std::optional<std::string> answer(uint64_t scope, const Query& query, size_t limit) override;
  void forward(uint64_t scope, Query query, bool tcp, Done done) override;

  Result<> attach(const ControlRequest& request, std::vector<UniqueFd>& fds);
  Result<> update(Scope& scope, const ControlRequest& request);
  Result<> set_upstreams(const ControlRequest& request);
  void remove(TextMap<std::unique_ptr<Scope>>::iterator scope);
  void synchronize();
  std::vector<Upstream> usable_upstreams(const Scope& scope) const;
  void arm_timer();

  sys::EventLoop& loop_;
  Clock& clock_;
  Zones zones_;
  Shuffler shuffler_;
  QuerySockets sockets_;
  Forwarder forwarder_;
  ListenerShared shared_;
  TextMap<std::unique_ptr<Scope>> scopes_;
  std::unordered_map<uint64_t, Scope*> by_number_;
  std::vector<Upstream> upstreams_;
  uint64_t generation_ = 0, next_number_ = 1;
  sys::EventLoop::TimerId timer_ = 0;
  int64_t timer_due_ns_ = INT64_MAX;
};

}  // namespace caisson::dns
