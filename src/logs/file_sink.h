// SPDX-License-Identifier: Apache-2.0
// Lines into a log's files, in one of the two formats; many lines become one write.
#pragma once

#include <cstddef>
#include <string>

#include "logs/line_cutter.h"
#include "logs/log_files.h"

namespace caisson::logs {

class FileSink : public LineSink {
 public:
  explicit FileSink(LogConfig config);
  ~FileSink() override;
  FileSink(const FileSink&) = delete;
  FileSink& operator=(const FileSink&) = delete;

  Result<> open() { return files_.open(); }
  Result<> add(const Line& line) override;
  Result<> flush();
  void release_memory();
  const LogConfig& config() const { return config_; }

 private:
  size_t bound(size_t text) const;
  char* encode(char* out, const Line& line);

  LogConfig config_;
  LogFiles files_;
  std::string attrs_;  // json: `"attrs":{...},`
  char* buffer_ = nullptr;
  size_t used_ = 0;
  int64_t time_ns_ = -1;
  std::string time_;  // json: time_ns_ as text
};

}  // namespace caisson::logs
