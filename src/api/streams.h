// SPDX-License-Identifier: Apache-2.0
// What attach, exec and logs share: hijacking, content types, detach keys, window sizes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "api/call.h"
#include "monitor/client.h"

namespace caisson::api {

// "application/vnd.docker.raw-stream" or, from API 1.42 without a tty, "...multiplexed-stream".
std::string stream_content_type(const Call& call, bool tty);

// Answers 101 or 200 and gives the raw socket.
Result<monitor::Attachment> hijack(const Call& call, bool tty);

// "ctrl-p,ctrl-q", "a,ctrl-x" -> the bytes; "" gives the default. kInvalid for anything else.
Result<std::string> parse_detach_keys(const std::string& text);

// "1700000000", "1700000000.5" or RFC 3339 -> nanoseconds; "" and "0" are 0. kInvalid.
Result<int64_t> parse_time(const std::string& text);

struct WindowSize {
  uint16_t rows = 0, columns = 0;
};
// From h and w; nullopt: an error was sent.
std::optional<WindowSize> window_size(const Call& call);

}  // namespace caisson::api
