// SPDX-License-Identifier: Apache-2.0
// A container's log on disk: written by its monitor, read by the engine, also while it grows.
// Format of driver json-file: Docker's own lines {"log":"...","stream":"stdout","time":"..."}.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace caisson::logs {

inline constexpr int kMaxFiles = 1000;

enum class StreamId : unsigned char { kStdout = 1, kStderr = 2 };

struct LogConfig {
  std::string driver = "json-file";  // json-file | none
  std::string path;                  // the current file; rotated ones are path.1, path.2...
  int64_t max_size = -1;             // bytes; -1: never rotate
  int max_files = 1;
};

// Single-threaded, used by the monitor. Lines longer than 16 KiB are stored as partial entries without
// the closing newline, as Docker does. Output is buffered for at most the current batch: call flush()
// when the pipe has run empty.
class LogWriter {
 public:
  static Result<std::unique_ptr<LogWriter>> open(const LogConfig& config);
  virtual ~LogWriter() = default;
  // Bytes as they came from the pipe, cut anywhere.
  virtual Result<> append(StreamId stream, std::string_view data, int64_t time_ns) = 0;
  virtual Result<> flush() = 0;
  // End of the container: an unfinished last line is written out.
  virtual Result<> finish() = 0;
  // Gives back buffers that the next append() would make again; for a writer that has gone quiet.
  virtual void release_memory() {}
};

struct LogEntry {
  StreamId stream = StreamId::kStdout;
  int64_t time_ns = 0;
  std::string text;  // newline included where the container wrote one
};

struct ReadOptions {
  bool want_stdout = true;
  bool want_stderr = true;
  int64_t since_ns = 0;   // 0: from the start
  int64_t until_ns = 0;   // 0: no end
  int64_t tail = -1;      // last N entries before following; -1: all
};

// Reads entries in order, over rotated files too. next() gives false at the current end; calling it
// again later continues with what was appended meanwhile (also over a rotation). Never blocks on more
// than disk reads. Broken lines are skipped.
class LogReader {
 public:
  static Result<std::unique_ptr<LogReader>> open(const LogConfig& config, const ReadOptions& options);
  virtual ~LogReader() = default;
  virtual Result<bool> next(LogEntry& entry) = 0;
};

Result<> remove_logs(const LogConfig& config);

}  // namespace caisson::logs
