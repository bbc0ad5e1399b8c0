// SPDX-License-Identifier: Apache-2.0
// What a container's log driver has to know, and its form in messages between engine and monitor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace caisson::logs {

inline constexpr int kMaxFiles = 1000;

enum class SyslogFormat : unsigned char { kUnix, kRfc3164, kRfc5424, kRfc5424Micro };

using Attributes = std::vector<std::pair<std::string, std::string>>;  // by key, each key once

struct LogConfig {
  std::string driver = "json-file";  // local | json-file | journald | syslog | none
  std::string path;                  // the current file; older ones are path.1, path.2.gz...
  int64_t max_size = -1;             // bytes; -1: never rotate
  int max_files = 1;
  bool compress = false;         // rotated files become path.N.gz
  bool cache = false;            // journald, syslog: `path` keeps a copy in format local for readers
  bool non_blocking = false;     // a full buffer drops instead of holding the container up
  int64_t max_buffer = 1 << 20;  // bytes of that buffer
  std::string tag;
  Attributes attrs;     // chosen labels and environment, and an explicit tag
  std::string address;  // syslog: "udp://127.0.0.1:514", "unixgram:///dev/log", "" for this host's;
                        // journald: path of the socket
  int facility = 3;     // syslog
  SyslogFormat format = SyslogFormat::kUnix;
  std::string container_id, container_name, image_name;  // name without the slash

  bool has_files() const { return driver == "json-file" || driver == "local" || cache; }
  bool json() const { return driver == "json-file"; }
};

std::string encode_config(const LogConfig& config);
Result<LogConfig> decode_config(std::string_view text);  // kCorrupt

}  // namespace caisson::logs
