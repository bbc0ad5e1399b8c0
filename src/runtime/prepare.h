// SPDX-License-Identifier: Apache-2.0
// The parent's half of a ChildSetup: everything that needs memory, host paths or the caller's rights.
#pragma once

#include "base/result.h"
#include "runtime/child.h"
#include "runtime/container.h"

namespace caisson::runtime {

Result<PreparedProcess> prepare_process(const ProcessPlan& plan, const Stdio& stdio);
// `cgroup` is the container's own, made already. The result points into `plan`.
Result<std::vector<PreparedMount>> prepare_mounts(const Plan& plan, const sys::CgroupSystem& system,
                                                  const sys::CgroupPaths& cgroup);
Result<std::vector<PreparedNamespace>> prepare_joins(const Plan& plan, int netns);
// The sentence for what a child reported.
Error child_error(const ChildMessage& message);

}  // namespace caisson::runtime
