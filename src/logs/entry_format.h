// SPDX-License-Identifier: Apache-2.0
// How a log file's bytes are read as entries, forwards and backwards; one implementation per format.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "logs/container_log.h"

namespace caisson::logs {

class EntryFormat {
 public:
  static std::unique_ptr<EntryFormat> of(const LogConfig& config, bool details);
  virtual ~EntryFormat() = default;
  // The first entry in `data`, which is the file from some entry's beginning on; false: it takes more
  // bytes. Either way the first `used` bytes are done with; broken entries are among them.
  virtual bool take(std::string_view data, size_t& used, LogEntry& entry) = 0;
  // The next take() is about another place.
  virtual void reset() {}
  // The offset from which `missing` entries lie before `size`; `missing` becomes how many more there would
  // have to be.
  virtual Result<int64_t> scan_back(int file, int64_t size, int64_t& missing) = 0;
};

}  // namespace caisson::logs
