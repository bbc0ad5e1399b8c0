// SPDX-License-Identifier: Apache-2.0
// Asks upstream servers on behalf of containers: order by health, retries, time limit, cache, bounded numbers. A
// state machine without sockets; the transport below it sends, and time comes from a clock.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "dns/cache.h"
#include "wire/dns_message.h"

namespace caisson::dns {

struct Upstream {
  Address address;
  uint16_t port = 53;
  bool from_host = false;
  auto operator<=>(const Upstream&) const = default;
};

class QueryTransport {
 public:
  virtual ~QueryTransport() = default;
  // Sends a query that waits for Forwarder::on_reply() or on_failure() with this attempt's number until drop().
  // False: it cannot be sent. Calls nothing back before it returns.
  virtual bool send(uint64_t attempt, uint64_t scope, const Upstream& upstream, bool tcp, std::string_view query) = 0;
  virtual void drop(uint64_t attempt) = 0;
};

struct Forward {
  uint64_t scope = 0;        // for limits and the transport
  uint64_t cache_space = 0;  // changes with what the scope's answers depend on
  Query query;
  bool tcp = false;
  bool recursion_available = true;
  std::vector<Upstream> upstreams;
  // Called once; not when the scope is dropped before.
  std::move_only_function<void(std::string reply)> done;
};

class Forwarder {
 public:
  Forwarder(Clock& clock, QueryTransport& transport, std::function<uint16_t()> random_id)
      : clock_(clock), transport_(transport), random_id_(std::move(random_id)), cache_(clock) {}

  // May call `done` before it returns.
  void forward(Forward request);
  void on_reply(uint64_t attempt, std::string_view message, bool tcp);
  void on_failure(uint64_t attempt);
  void drop_scope(uint64_t scope);

  // When run_due() is to be called next, on the monotonic clock; INT64_MAX: nothing waits.
  int64_t next_due_ns() const { return due_.empty() ? INT64_MAX : due_.begin()->first; }
  void run_due();

  size_t outstanding() const { return jobs_.size(); }

  static constexpr int64_t kStepNs = 1'000'000'000;   // until the next server is asked, or the only one again
  static constexpr int64_t kTotalNs = 4'500'000'000;  // below the 5 s of common resolvers
  static constexpr size_t kMaxOutstanding = 4096, kMaxPerScope = 256;

 private:
  struct Attempt {
    uint64_t job = 0;
    size_t upstream = 0;  // index in the job's list
    uint16_t query_id = 0;
  };
  struct Job {
    Forward request;
    std::vector<bool> tried, failed;  // by upstream; failed: has said so, no use to ask again
    std::vector<uint64_t> attempts;
    size_t next = 0;
    int64_t deadline_ns = 0, due_ns = 0;
  };
  struct Health {
    unsigned failures = 0;
    int64_t avoid_until_ns = 0;
  };
  using HealthKey = std::pair<uint64_t, Upstream>;  // scope 0 where the host asks
  using Jobs = std::unordered_map<uint64_t, Job>;

  static HealthKey health_key(uint64_t scope, const Upstream& upstream);
  void sort_by_health(Forward& request);
  void advance(uint64_t job_id, Job& job);
  void reschedule(uint64_t job_id, Job& job, int64_t due_ns);
  void went_silent(const Job& job);
  void attempt_over(uint64_t attempt);
  void finish(Jobs::iterator job, std::string reply);

  Clock& clock_;
  QueryTransport& transport_;
  std::function<uint16_t()> random_id_;
  Cache cache_;
  Jobs jobs_;
  std::unordered_map<uint64_t, Attempt> attempts_;
  std::unordered_map<uint64_t, size_t> per_scope_;
  std::set<std::pair<int64_t, uint64_t>> due_;
  std::map<HealthKey, Health> health_;
  uint64_t next_number_ = 1;
};

}  // namespace caisson::dns
