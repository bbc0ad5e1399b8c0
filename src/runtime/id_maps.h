// SPDX-License-Identifier: Apache-2.0
// Writing the id maps of a new user namespace (user_namespaces(7)): directly, or for ordinary users through
// newuidmap and newgidmap, which know what /etc/subuid gives them.
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "runtime/plan.h"

namespace caisson::runtime {

// For a child that waits in a new user namespace.
Result<> write_id_maps(pid_t pid, const Plan& plan);

}  // namespace caisson::runtime
