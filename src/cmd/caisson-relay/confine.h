// SPDX-License-Identifier: Apache-2.0
// Takes from the process everything that moving bytes between sockets does not need.
#pragma once

#include "base/result.h"

namespace caisson::relay {

// Afterwards: user nobody, no capabilities, a short list of system calls, a bound on memory.
Result<> confine();

}  // namespace caisson::relay
