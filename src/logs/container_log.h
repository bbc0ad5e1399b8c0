// SPDX-License-Identifier: Apache-2.0
// A container's log: written by its monitor, read by the engine, also while it grows. Drivers: `local`
// (compact records) and `json-file` (Docker's lines) are files; `syslog` and `journald` send to a peer
// and keep a copy in format local for readers; `none`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "logs/log_config.h"

namespace caisson::logs {

enum class StreamId : unsigned char { kStdout = 1, kStderr = 2 };

// After the end of the container a peer that does not take its messages is given up after this long: the
// container's stop never waits for it, only the monitor's process stays that much longer.
inline constexpr int64_t kLingerNs = 2'000'000'000;

// A place in the log: everything before it has been read.
struct LogCursor {
  uint64_t inode = 0;  // 0: before the first file
  int64_t offset = 0;
};

// Single-threaded, used by the monitor. Lines longer than 16 KiB are stored as partial entries without
// the closing newline, as Docker does. Output is buffered for at most the current batch: call flush()
// when the pipe has run empty. Never blocks on a peer, only on the disk.
class LogWriter {
 public:
  // kUnavailable when the driver's peer cannot be reached; a TCP peer is waited for at most 5 s.
  static Result<std::unique_ptr<LogWriter>> open(const LogConfig& config);
  virtual ~LogWriter() = default;
  // Bytes as they came from the pipe, cut anywhere.
  virtual Result<> append(StreamId stream, std::string_view data, int64_t time_ns) = 0;
  virtual Result<> flush() = 0;
  // End of the process: an unfinished last line is written out. append() may follow when it is restarted.
  virtual Result<> finish() = 0;
  // Gives back buffers that the next append() would make again; for a writer that has gone quiet.
  virtual void release_memory() {}
  // What has been logged behind `from`, the beginning of an unfinished line included: with it a new client
  // goes on where a reader of the files has stopped.
  using Replay = std::function<void(StreamId stream, std::string_view text)>;
  virtual Result<> replay(const LogCursor&, const Replay&) { return {}; }

  // For an event loop. The descriptor stays the same and is readable when on_ready() has something to do;
  // -1: there is none. Times are monotonic, INT64_MAX is never.
  virtual int poll_fd() const { return -1; }
  virtual void on_ready() {}
  virtual int64_t next_deadline() const { return INT64_MAX; }
  virtual void on_time(int64_t) {}
  // Mode blocking, and the peer is slow: the container's output is not to be read now.
  virtual bool full() const { return false; }
  // After finish(): something may still go out; false at the latest kLingerNs later.
  virtual bool lingering() const { return false; }
};

struct LogEntry {
  StreamId stream = StreamId::kStdout;
  int64_t time_ns = 0;
  std::string text;     // newline included where the container wrote one
  std::string details;  // with ReadOptions::details: "key=value,key=value", escaped as in a URL's query
};

struct ReadOptions {
  bool want_stdout = true;
  bool want_stderr = true;
  int64_t since_ns = 0;  // 0: from the start
  int64_t until_ns = 0;  // 0: no end
  int64_t tail = -1;     // last N entries before following; -1: all
  bool details = false;
  std::optional<LogCursor> after;  // instead of `tail`
};

// Reads entries in order, over rotated files too. next() gives false at the current end; calling it
// again later continues with what was appended meanwhile (also over a rotation). Never blocks on more
// than disk reads. Broken entries are skipped.
class LogReader {
 public:
  // kUnsupported, in Docker's words, when the driver keeps nothing to read.
  static Result<std::unique_ptr<LogReader>> open(const LogConfig& config, const ReadOptions& options);
  virtual ~LogReader() = default;
  virtual Result<bool> next(LogEntry& entry) = 0;
  // Behind the last entry that next() has looked at.
  virtual LogCursor position() const = 0;
  // An entry younger than ReadOptions::until_ns has been seen: nothing can come any more.
  virtual bool ended() const = 0;
};

Result<> remove_logs(const LogConfig& config);
// Empties the log while its writer may be at work. kUnsupported as for reading.
Result<> clear_logs(const LogConfig& config);

}  // namespace caisson::logs
