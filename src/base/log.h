// SPDX-License-Identifier: Apache-2.0
// The program's own log: one line per event to stderr, level first. Not container logs.
#pragma once

namespace caisson {

enum class LogLevel : unsigned char { kDebug, kInfo, kWarn, kError };

// Process-wide threshold, set by main; it may change while threads run.
void set_log_level(LogLevel level);
LogLevel log_level();
// One JSON object a line instead of plain text; set with the threshold.
void set_log_json(bool on);

// One line, written with one write(2); control bytes are escaped. A failure that is ignored on
// purpose is logged at debug and its text ends with ", ignoring".
[[gnu::format(printf, 1, 2)]] void log_debug(const char* format, ...);
[[gnu::format(printf, 1, 2)]] void log_info(const char* format, ...);
[[gnu::format(printf, 1, 2)]] void log_warn(const char* format, ...);
[[gnu::format(printf, 1, 2)]] void log_error(const char* format, ...);

}  // namespace caisson
