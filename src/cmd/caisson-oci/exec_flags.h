// SPDX-License-Identifier: Apache-2.0
// What exec's flags change in a process section and in the choice of the cgroup. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "flags.h"
#include "spec/oci_runtime.h"
#include "sys/cgroup.h"

namespace caisson::oci {

// The command is what follows the container's id.
Result<> apply_exec_flags(const Parsed& flags, spec::OciProcess& process);

// "[controller[,controller]:]path" below the container's own groups; v2 knows no controllers here.
Result<sys::CgroupPaths> sub_cgroups(const sys::CgroupPaths& container, const std::vector<std::string>& wanted);

}  // namespace caisson::oci
