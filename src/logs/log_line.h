// SPDX-License-Identifier: Apache-2.0
// One line of a json-file log: encoding exactly as Docker writes it, tolerant decoding.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "logs/line_cutter.h"

namespace caisson::logs {

inline constexpr size_t kLineOverhead = 160;  // keys, stream and time of one line
// Room that encode_line may need for `size` bytes of text: six for a \u00XX escape.
inline constexpr size_t encoded_bound(size_t size) { return size * 6 + kLineOverhead; }

// Writes one line, "\n" included, and returns its end. `out` has encoded_bound(text.size()) + attrs.size()
// bytes. `newline`: the text ends with a newline that is not part of `text`. `attrs`: of encode_attrs().
char* encode_line(char* out, StreamId stream, std::string_view text, bool newline, std::string_view time,
                  std::string_view attrs = {});
// `"attrs":{...},`; empty when there are none.
std::string encode_attrs(const Attributes& attrs);

// `line` without its newline. False for anything that is not an object with a known stream and a time.
// `details`: LogEntry::details is filled too.
bool decode_line(std::string_view line, LogEntry& entry, bool details = false);

// The form of LogEntry::details.
std::string render_details(const Attributes& attrs);

}  // namespace caisson::logs
