// SPDX-License-Identifier: Apache-2.0
// Which seccomp filter a process of a container gets: the default profile, the user's own, or none.
#pragma once

#include "base/result.h"
#include "engine/options.h"
#include "engine/record.h"
#include "runtime/plan.h"
#include "runtime/seccomp_profile.h"

namespace caisson::engine {

// The container's own choice, else the engine's. Fills seccomp_bpf and seccomp_flags; the profile's conditions are
// checked against the process's bounding set. kInvalid for a profile that cannot be read.
Result<> add_seccomp_filter(const ContainerRecord& record, const EngineOptions& options, runtime::SeccompCache& cache,
                            runtime::ProcessPlan& process, bool privileged_exec = false);

}  // namespace caisson::engine
