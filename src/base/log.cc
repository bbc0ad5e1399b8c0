// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <cstdarg>

#include "base/clock.h"
#include "base/text.h"

namespace caisson {

// The threshold and the form are the process-wide state in the tree: a log call deep in sys has no path to an
// object of main's.
static std::atomic<LogLevel> threshold = LogLevel::kInfo;
static bool as_json = false;

void set_log_level(LogLevel level) { threshold = level; }
LogLevel log_level() { return threshold; }
void set_log_json(bool on) { as_json = on; }

static void append_escaped(std::string& line, std::string_view text) {
  for (char c : text) {
    bool control = static_cast<unsigned char>(c) < 32 || c == 127;
    if (as_json && (c == '"' || c == '\\'))
      (line += '\\') += c;
    else if (control)
      line += format(as_json ? "\\u%04x" : "\\x%02x", static_cast<unsigned char>(c));
    else
      line += c;
  }
}

static void emit(LogLevel level, const char* fmt, va_list args) {
  if (level < threshold) return;
  // Docker's words, where there are two for it.
  static const char* const names[] = {"debug", "info", "warn", "error"};
  static const char* const json_names[] = {"debug", "info", "warning", "error"};
  std::string time = format_rfc3339_fixed(now_ns()), line;
  int number = static_cast<int>(level);
  line =
      as_json ? std::string("{\"level\":\"") + json_names[number] + "\",\"msg\":\"" : time + " " + names[number] + " ";
  append_escaped(line, vformat(fmt, args));
  line += as_json ? "\",\"time\":\"" + time + "\"}\n" : "\n";
  // Nobody to tell when stderr is gone.
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

#define CAISSON_DEFINE_LOG(name, level) \
  void name(const char* fmt, ...) {     \
    va_list args;                       \
    va_start(args, fmt);                \
    emit(level, fmt, args);             \
    va_end(args);                       \
  }
CAISSON_DEFINE_LOG(log_debug, LogLevel::kDebug)
CAISSON_DEFINE_LOG(log_info, LogLevel::kInfo)
CAISSON_DEFINE_LOG(log_warn, LogLevel::kWarn)
CAISSON_DEFINE_LOG(log_error, LogLevel::kError)

}  // namespace caisson
