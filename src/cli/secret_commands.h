// SPDX-License-Identifier: Apache-2.0
// `run --secret NAME[,target=...][,type=mount|env][,uid=...][,gid=...][,mode=...]`, as podman has it.
#pragma once

#include <string_view>

#include "base/result.h"
#include "cli/json_value.h"

namespace caisson::cli {

// In the form of the API; kInvalid with one sentence.
Result<JsonValue> parse_secret_use(std::string_view text);
Result<> check_secret_use(std::string_view text);

}  // namespace caisson::cli
