// SPDX-License-Identifier: Apache-2.0
// Environment and label files, and variables taken from the caller's environment.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/json_value.h"

namespace caisson::cli {

// Lines "K=V", "K" (taken from `environment`, left out where unset there), comments with #.
Result<std::vector<std::string>> read_env_files(const std::vector<std::string>& files,
                                                const std::vector<std::string>& environment);
// Values of -e: "K" alone is taken from `environment`.
std::vector<std::string> resolve_env(const std::vector<std::string>& values,
                                     const std::vector<std::string>& environment);
// Label files, then labels; "K" alone has an empty value.
Result<JsonValue> read_labels(const std::vector<std::string>& files, const std::vector<std::string>& labels);

}  // namespace caisson::cli
