// SPDX-License-Identifier: Apache-2.0
// Parts of the linux section that are about the process and what it is given, not about its file system.
#pragma once

#include "base/result.h"
#include "runtime/plan.h"
#include "spec/oci_runtime.h"

namespace caisson::runtime {

// A personality as personality(2) takes it; kInvalid for unknown domains and any flag.
Result<uint32_t> personality_number(const spec::OciPersonality& in);

// Personality, memory policy, intelRdt, seccomp listener, network devices; and the check that the process's
// ids exist in the container. `plan` has its process, namespaces and id mappings already.
Result<> add_linux_process(const spec::OciLinux& in, Plan& plan);

}  // namespace caisson::runtime
