// SPDX-License-Identifier: Apache-2.0
// Takes from the process everything that sending packets again does not need.
#pragma once

#include "base/result.h"

namespace caisson::gate {

// Afterwards: user nobody, CAP_NET_ADMIN and no other capability, a short list of system calls, a bound on memory.
Result<> confine();

}  // namespace caisson::gate
