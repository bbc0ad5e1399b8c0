// SPDX-License-Identifier: Apache-2.0
// For tests only.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <string>

#include "base/clock.h"
#include "logs/container_log.h"
#include "sys/files.h"

namespace caisson::logs::test {

struct TempDir {
  std::string path;
  TempDir() {
    char name[] = "/tmp/caisson-logs-XXXXXX";
    path = mkdtemp(name);
  }
  ~TempDir() { (void)sys::remove_tree(path).has_value(); }
};

inline const int64_t kTime = *parse_rfc3339("2024-05-01T10:20:30.120000000Z");

inline LogConfig config_in(const TempDir& dir, const char* driver, int64_t max_size = -1, int max_files = 1,
                           bool compress = false) {
  return {driver, dir.path + "/c.log", max_size, max_files, compress};
}

inline std::string read_all(LogReader& reader) {
  std::string out;
  LogEntry entry;
  while (*reader.next(entry)) out += entry.text;
  return out;
}

inline std::string all_of(const LogConfig& config, ReadOptions options = {}) {
  auto reader = LogReader::open(config, options);
  REQUIRE(reader);
  return read_all(**reader);
}

inline std::string tail_of(const LogConfig& config, int64_t tail) {
  ReadOptions options;
  options.tail = tail;
  return all_of(config, options);
}

}  // namespace caisson::logs::test
