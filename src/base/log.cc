// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <unistd.h>

#include <cstdarg>

#include "base/clock.h"
#include "base/text.h"

namespace caisson {

// The threshold is the one piece of process-wide state in the tree: a log call deep in sys has no
// path to an object of main's, and it is written once before threads exist.
static LogLevel threshold = LogLevel::kInfo;

void set_log_level(LogLevel level) { threshold = level; }
LogLevel log_level() { return threshold; }

static void emit(LogLevel level, const char* fmt, va_list args) {
  if (level < threshold) return;
  static const char* const names[] = {"debug", "info", "warn", "error"};
  std::string line = format_rfc3339_fixed(now_ns());
  line += ' ';
  line += names[static_cast<int>(level)];
  line += ' ';
  for (char c : vformat(fmt, args)) {
    if (static_cast<unsigned char>(c) < 32 || c == 127)
      line += format("\\x%02x", static_cast<unsigned char>(c));
    else
      line += c;
  }
  line += '\n';
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
