// SPDX-License-Identifier: Apache-2.0
// One line of a json-file log: encoding exactly as Docker writes it, tolerant decoding.
#pragma once

#include <cstddef>
#include <string_view>

#include "logs/container_log.h"

namespace caisson::logs {

inline constexpr size_t kMaxText = 16 << 10;       // longer lines are stored in parts
inline constexpr size_t kLineOverhead = 160;       // keys, stream and time of one line
// Room that encode_line may need for `size` bytes of text: six for a \u00XX escape.
inline constexpr size_t encoded_bound(size_t size) { return size * 6 + kLineOverhead; }

// Writes one line, "\n" included, and returns its end. `out` has encoded_bound(text.size()) bytes.
// `newline`: the text ends with a newline that is not part of `text`.
char* encode_line(char* out, StreamId stream, std::string_view text, bool newline, std::string_view time);

// `line` without its newline. False for anything that is not an object with a known stream and a time.
bool decode_line(std::string_view line, LogEntry& entry);

}  // namespace caisson::logs
