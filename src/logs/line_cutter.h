// SPDX-License-Identifier: Apache-2.0
// Cuts the bytes of a container's two streams into lines and, where these are long, parts of 16 KiB.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "logs/container_log.h"

namespace caisson::logs {

inline constexpr size_t kMaxText = 16 << 10;  // longer lines are stored in parts

struct Line {
  StreamId stream = StreamId::kStdout;
  std::string_view text;  // without its newline
  bool newline = true;    // false: cut here, or the end of the output
  int64_t time_ns = 0;    // of the line's first byte; all parts carry it, as in Docker
  unsigned part = 0;      // 0: a whole line; else which part, from 1
};

class LineSink {
 public:
  virtual ~LineSink() = default;
  virtual Result<> add(const Line& line) = 0;
};

class LineCutter {
 public:
  // The sink's last error; it gets every line all the same.
  Result<> feed(StreamId stream, std::string_view data, int64_t time_ns, LineSink& sink);
  // Unfinished lines are given out as they are.
  Result<> finish(LineSink& sink);
  std::string_view unfinished(StreamId stream) const { return pending(stream).text; }
  void release_memory();

 private:
  // The beginning of a line whose end has not come yet.
  struct Pending {
    std::string text;
    int64_t time_ns = 0;
    unsigned parts = 0;  // given out so far
  };
  Pending& pending(StreamId stream) { return pending_[stream == StreamId::kStderr]; }
  const Pending& pending(StreamId stream) const { return pending_[stream == StreamId::kStderr]; }
  Pending pending_[2];
};

}  // namespace caisson::logs
