// SPDX-License-Identifier: Apache-2.0
#include "monitor/restart_policy.h"

#include <doctest/doctest.h>

using namespace caisson::monitor;

namespace {
constexpr int64_t kMs = 1'000'000, kShort = 5 * kMs, kLong = 20'000 * kMs;
RestartDecision decision(const char* name, int64_t retries = 0) {
  return RestartDecision(*restart_policy_of(name, retries));
}
}  // namespace

TEST_CASE("words of restart policies") {
  CHECK(restart_policy_of("", 3) == RestartPolicy{});
  CHECK(restart_policy_of("no", 0) == RestartPolicy{});
  CHECK(restart_policy_of("on-failure", 3) == RestartPolicy{RestartPolicy::Kind::kOnFailure, 3});
  CHECK_FALSE(restart_policy_of("sometimes", 0));
}

TEST_CASE("who is started again") {
  CHECK_FALSE(decision("no").after_exit(1, kShort, false));
  CHECK(decision("always").after_exit(0, kShort, false));
  CHECK(decision("unless-stopped").after_exit(0, kShort, false));
  CHECK_FALSE(decision("always").after_exit(1, kShort, true));
  CHECK_FALSE(decision("on-failure").after_exit(0, kShort, false));
  auto limited = decision("on-failure", 2);
  CHECK(limited.after_exit(1, kShort, false));
  CHECK(limited.after_exit(1, kShort, false));
  CHECK_FALSE(limited.after_exit(1, kShort, false));
  CHECK(limited.restarts() == 2);
}

TEST_CASE("the delay doubles up to a minute and begins again after a long run") {
  auto always = decision("always");
  int64_t expected = 100 * kMs;
  for (int i = 0; i < 15; ++i) {
    CHECK(always.after_exit(1, kShort, false) == expected);
    expected = std::min(expected * 2, 60'000 * kMs);
  }
  CHECK(always.after_exit(1, kLong, false) == 100 * kMs);
  CHECK(always.after_exit(1, kShort, false) == 200 * kMs);
}
