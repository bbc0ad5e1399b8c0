// SPDX-License-Identifier: Apache-2.0
// Names for containers that were given none, and the rule for names that were.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace caisson::engine {

// "adjective_noun"; `attempt` > 3 adds digits, so that a crowded host finds a free one.
std::string random_name(int attempt);

// kInvalid with Docker's text. A leading '/' is allowed and removed.
Result<std::string> check_name(std::string_view name);

}  // namespace caisson::engine
