// SPDX-License-Identifier: Apache-2.0
// --platform of commands about one image, as the engine wants it.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace caisson::cli {

// "linux/arm64/v8", "linux/amd64", "arm64", "linux" as JSON; "" stays "".
Result<std::string> platform_json(std::string_view text);

}  // namespace caisson::cli
