// SPDX-License-Identifier: Apache-2.0
#include "monitor/restart_policy.h"

#include <algorithm>

namespace caisson::monitor {

namespace {
constexpr int64_t kFirstDelayNs = 100'000'000;
constexpr int64_t kLongestDelayNs = 60'000'000'000;
constexpr int64_t kLongRunNs = 10'000'000'000;
}  // namespace

std::optional<RestartPolicy> restart_policy_of(std::string_view name, int64_t max_retries) {
  using Kind = RestartPolicy::Kind;
  auto retries = static_cast<int32_t>(std::clamp<int64_t>(max_retries, 0, INT32_MAX));
  if (name.empty() || name == "no") return RestartPolicy{};
  if (name == "on-failure") return RestartPolicy{Kind::kOnFailure, retries};
  if (name == "always") return RestartPolicy{Kind::kAlways, 0};
  if (name == "unless-stopped") return RestartPolicy{Kind::kUnlessStopped, 0};
  return std::nullopt;
}

std::optional<int64_t> RestartDecision::after_exit(int exit_code, int64_t ran_ns, bool stopped_by_hand) {
  bool again = false;
  switch (policy_.kind) {
    case RestartPolicy::Kind::kNo: break;
    case RestartPolicy::Kind::kAlways:
    case RestartPolicy::Kind::kUnlessStopped: again = true; break;
    case RestartPolicy::Kind::kOnFailure:
      again = exit_code != 0 && (policy_.max_retries == 0 || restarts_ < policy_.max_retries);
      break;
  }
  if (!again || stopped_by_hand) return std::nullopt;
  if (ran_ns >= kLongRunNs || delay_ns_ == 0)
    delay_ns_ = kFirstDelayNs;
  else
    delay_ns_ = std::min(delay_ns_ * 2, kLongestDelayNs);
  ++restarts_;
  return delay_ns_;
}

}  // namespace caisson::monitor
