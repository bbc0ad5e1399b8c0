// SPDX-License-Identifier: Apache-2.0
// The rows of a ps table that belong to a set of processes. Pure.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace caisson::oci {

// The header and the rows whose column PID is in `pids`. kInvalid without such a column.
Result<std::string> rows_of_pids(std::string_view table, const std::vector<pid_t>& pids);

}  // namespace caisson::oci
