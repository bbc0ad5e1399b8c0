// SPDX-License-Identifier: Apache-2.0
// Names of signals as `kill` takes them. Pure.
#pragma once

#include <string_view>

#include "base/result.h"

namespace caisson::oci {

// "9", "KILL", "SIGKILL", "sigkill", "RTMIN+3". kInvalid `unknown signal "NOPE"`.
Result<int> signal_number(std::string_view text);

}  // namespace caisson::oci
