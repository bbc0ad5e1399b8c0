// SPDX-License-Identifier: Apache-2.0
// A container's counters as one event in the form that readers of `events` know.
#pragma once

#include <string>

#include "base/result.h"
#include "sys/cgroup.h"

namespace caisson::oci {

// {"type":"stats","id":ID,"data":{...}}, one line without its end.
Result<std::string> stats_event(const std::string& id, const sys::CgroupPaths& cgroup);
std::string oom_event(const std::string& id);

}  // namespace caisson::oci
