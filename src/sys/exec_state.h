// SPDX-License-Identifier: Apache-2.0
// Whether a child ever came to exec.
#pragma once

#include <optional>

#include "sys/process.h"

namespace caisson::sys {

// The signal that killed a child before it executed anything; nothing when it lives, has executed, or ended by
// itself. It stays to be waited for.
std::optional<int> died_before_exec(const Child& child);

}  // namespace caisson::sys
