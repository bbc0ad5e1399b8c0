// SPDX-License-Identifier: Apache-2.0
// The files of one log as their writer sees them: the current one and those rotated away, plain or
// compressed. Knows names and sizes, not what is inside.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "logs/gzip_file.h"
#include "logs/log_config.h"

namespace caisson::logs {

// "path", "path.1"... and their compressed form.
std::string file_name(const std::string& path, int index);
std::string gzip_name(const std::string& path, int index);
std::string temporary_gzip_name(const std::string& path);
// "" when there is none.
std::string directory_of(const std::string& path);

class LogFiles {
 public:
  // `config` must outlive this.
  explicit LogFiles(const LogConfig& config) : config_(config) {}
  // Opens or makes the current file, after mending what a killed writer has left at its end.
  Result<> open();
  // Whole entries. Carries the compression of a rotated file on, too.
  Result<> write(std::string_view data);
  // True when the next entry belongs into a new file; `buffered` bytes are still to be written.
  bool rotation_due(size_t buffered);
  Result<> rotate();

 private:
  Result<> open_current();
  Result<> mend();
  void begin_compression();
  void compress(size_t bytes);

  const LogConfig& config_;
  UniqueFd file_;
  int64_t size_ = 0;
  bool torn_ = false;  // json: the file ends inside a line
  std::unique_ptr<GzipJob> job_;
  int job_index_ = 0;
};

}  // namespace caisson::logs
