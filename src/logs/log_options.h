// SPDX-License-Identifier: Apache-2.0
// The options of every log driver (`--log-opt`, LogConfig.Config) with Docker's rules and texts. Pure.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "logs/log_config.h"

namespace caisson::logs {

using Options = std::map<std::string, std::string>;

// What a tag or an attribute may speak of.
struct LogSubject {
  std::string id, name, image_id, image_name;  // name without the slash
  const std::map<std::string, std::string>* labels = nullptr;
  const std::vector<std::string>* env = nullptr;
};

// Drivers that write and read, for /info.
std::span<const std::string_view> driver_names();

// Everything but LogConfig::path. kInvalid for wrong options and unknown drivers, kUnsupported for what
// Docker has and this release has not.
Result<LogConfig> make_config(const std::string& driver, const Options& options, const LogSubject& subject);

// "10m" as bytes: decimal units as for max-size, or binary ones as for max-buffer-size. kInvalid.
Result<int64_t> parse_log_size(std::string_view text, int64_t thousand);

// The tag after its template, as {{.Name}}/{{.ID}}. kInvalid for what is no known field.
Result<std::string> expand_tag(std::string_view text, const LogSubject& subject);

}  // namespace caisson::logs
