// SPDX-License-Identifier: Apache-2.0
// POST /containers/{id}/update: resource limits and restart policy of a container, taken into its record and,
// while it runs, into its cgroup.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "engine/container.h"
#include "engine/create_rules.h"
#include "engine/services.h"

namespace caisson::engine {

// Pure: `change` holds what the request names and nothing else; `host` is the container's. kInvalid for wrong
// values, kConflict where the two contradict each other, with Docker's texts.
Result<> merge_update(spec::HostConfig& host, spec::HostConfig change, const HostFacts& facts);
// What of `change` a cgroup has to be told; `devices` are the numbers of those that it names.
sys::CgroupLimits limits_of_update(const spec::HostConfig& change, const spec::OciBlockIo& devices = {});

// The warnings. Nothing is stored when the kernel refuses a limit.
Result<std::vector<std::string>> update_container(const Services& services, const ContainerPtr& container,
                                                  const spec::HostConfig& change);

}  // namespace caisson::engine
