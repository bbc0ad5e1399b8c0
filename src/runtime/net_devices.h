// SPDX-License-Identifier: Apache-2.0
// linux.netDevices: devices of the caller's network namespace that become the container's.
#pragma once

#include "base/result.h"
#include "runtime/plan.h"

namespace caisson::runtime {

// Moves and renames the plan's devices into the network namespace of the process, with their permanent
// addresses of global scope, and sets them up. On failure those moved already come back. Changes the calling
// thread's namespace for a moment.
Result<> move_net_devices(const Plan& plan, int child_pidfd);

}  // namespace caisson::runtime
