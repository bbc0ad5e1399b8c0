// SPDX-License-Identifier: Apache-2.0
// The process table of a container in the words of ps(1), read from /proc: no program is started, and the
// engine need not have ps installed.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "spec/docker_container.h"

namespace caisson::engine {

// `ps_args` is what the client gave ("-ef", "aux", "-o pid,comm"); empty is "-ef". kInvalid for options
// and columns that are not known.
Result<spec::TopResponse> top(const std::vector<pid_t>& pids, const std::string& ps_args);

}  // namespace caisson::engine
