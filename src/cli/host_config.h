// SPDX-License-Identifier: Apache-2.0
// The HostConfig part of a create request: mounts, limits, namespaces, security.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/container_flags.h"

namespace caisson::cli {

// Also sets Volumes in the config. Relative host paths start at `working_directory`.
Result<> set_host_config(ContainerRequest& out, const ParsedFlags& flags, const std::string& working_directory);
// Memory, CPU, block I/O and pids limits that `run` and `update` share.
Result<> set_resource_limits(JsonValue& host, const ParsedFlags& flags);

}  // namespace caisson::cli
