// SPDX-License-Identifier: Apache-2.0
// What happened, on disk: JSON lines in two files that take turns, so that `docker events --since` reaches
// back over an engine's restart and over what memory holds. Survives kill -9; a loss of power may cost the
// last seconds.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "engine/events.h"

namespace caisson::engine {

class EventJournal {
 public:
  static constexpr int64_t kMaxFileBytes = 4 << 20;

  // `path` and `path`.1. A half line that a crash left is cut off.
  static Result<EventJournal> open(std::string path, int64_t max_file_bytes = kMaxFileBytes);
  // One writer at a time. A full disk loses events, never the caller.
  void append(const std::string& line);
  int64_t last_ns() const { return last_ns_; }  // 0: none yet
  // Those with from_ns <= time < to_ns in their order; beside a writer, too. Broken lines are passed over.
  void replay(int64_t from_ns, int64_t to_ns, const std::function<void(const Event&)>& take) const;

 private:
  std::string path_;
  UniqueFd file_;
  int64_t size_ = 0, max_bytes_ = 0, last_ns_ = 0;
};

}  // namespace caisson::engine
