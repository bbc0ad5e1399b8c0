// SPDX-License-Identifier: Apache-2.0
// Whether and when a container that has ended is started again. Pure; rules and back-off are Docker's.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace caisson::monitor {

struct RestartPolicy {
  enum class Kind : uint8_t { kNo, kOnFailure, kAlways, kUnlessStopped };
  Kind kind = Kind::kNo;
  int32_t max_retries = 0;  // kOnFailure; 0: without end
  bool operator==(const RestartPolicy&) const = default;
};
// "no", "on-failure", "always", "unless-stopped", "" as "no"; nullopt for other words.
std::optional<RestartPolicy> restart_policy_of(std::string_view name, int64_t max_retries);

// One container's history of restarts.
class RestartDecision {
 public:
  explicit RestartDecision(RestartPolicy policy = {}) : policy_(policy) {}
  void set_policy(RestartPolicy policy) { policy_ = policy; }
  const RestartPolicy& policy() const { return policy_; }
  // The delay before the next start, or nullopt when this was the end. `ran_ns`: how long it ran: who
  // lived for a while begins again with the shortest delay.
  std::optional<int64_t> after_exit(int exit_code, int64_t ran_ns, bool stopped_by_hand);
  int64_t restarts() const { return restarts_; }

 private:
  RestartPolicy policy_;
  int64_t restarts_ = 0;
  int64_t delay_ns_ = 0;
};

}  // namespace caisson::monitor
