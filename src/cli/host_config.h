// SPDX-License-Identifier: Apache-2.0
// The HostConfig part of a create request: mounts, limits, namespaces, security.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/container_flags.h"

namespace caisson::cli {

// Also sets Volumes in the config. Relative host paths start at `working_directory`.
Result<> set_host_config(ContainerRequest& out, const ParsedFlags& flags, const std::string& working_directory);

}  // namespace caisson::cli
