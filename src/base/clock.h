// SPDX-License-Identifier: Apache-2.0
// Time as the API shows it (RFC 3339 with nanoseconds, UTC) and as code measures it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace caisson {

// Wall clock, nanoseconds since 1970.
int64_t now_ns();
// Monotonic clock, nanoseconds; only differences mean anything.
int64_t monotonic_ns();

// "2024-05-01T10:20:30.123456789Z"; trailing zeros of the fraction dropped as Go does (RFC3339Nano).
std::string format_rfc3339(int64_t ns);
// Always nine digits, the form of log timestamps.
std::string format_rfc3339_fixed(int64_t ns);
// RFC 3339 with any offset.
std::optional<int64_t> parse_rfc3339(std::string_view text);

// A settable clock for tests of code that takes one.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t now_ns() { return caisson::now_ns(); }
  virtual int64_t monotonic_ns() { return caisson::monotonic_ns(); }
};

// Docker's text for "never": Go's zero time.
inline constexpr std::string_view kZeroTime = "0001-01-01T00:00:00Z";

}  // namespace caisson
