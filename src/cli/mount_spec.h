// SPDX-License-Identifier: Apache-2.0
// The texts of -v and --mount.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/json_value.h"

namespace caisson::cli {

// Fields of a comma-separated line; a field in double quotes may contain commas ("" is a quote).
std::vector<std::string> split_fields(std::string_view line);

// "type=bind,source=/a,target=/b,readonly" as a Mount of the API.
Result<JsonValue> parse_mount(std::string_view text);

// A -v value: `bind` is what goes into Binds (a host path that starts with a dot made absolute), or
// `anonymous` the path of a volume without a name.
struct VolumeSpec {
  std::string bind;
  std::string anonymous;
};
Result<VolumeSpec> parse_volume(std::string_view text, const std::string& working_directory);

}  // namespace caisson::cli
