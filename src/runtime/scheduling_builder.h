// SPDX-License-Identifier: Apache-2.0
// How the kernel treats a process in time and place, from the words of an OCI spec to the numbers of the
// system calls: scheduler, io priority, cpu affinity, memory policy. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "runtime/plan.h"
#include "spec/oci_runtime.h"

namespace caisson::runtime {

// All: kInvalid names the field.
Result<SchedulerPlan> build_scheduler(const spec::OciScheduler& in);
Result<uint16_t> build_io_priority(const spec::OciIoPriority& in);
Result<MemoryPolicyPlan> build_memory_policy(const spec::OciMemoryPolicy& in);
// "0-3,7" -> a bit mask in native unsigned longs; numbers below `limit`. An empty text is an empty mask.
Result<std::string> parse_number_list(std::string_view text, uint32_t limit);

inline constexpr uint32_t kMaxCpus = 8192, kMaxNodes = 1024;  // what kernels can be built for

}  // namespace caisson::runtime
