// SPDX-License-Identifier: Apache-2.0
// What a container may be given beside Docker's options: a umask, a personality, clocks of its own, values
// for any file of its cgroup. Read, checked and put into the runtime's spec. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "spec/docker_config.h"
#include "spec/oci_runtime.h"

namespace caisson::engine {

// kInvalid, naming the option: what no kernel could do, and files of cgroup v2 where there is none.
Result<> check_isolation(const spec::HostConfig& host, bool cgroup_v2);

Result<std::optional<uint32_t>> umask_of(const spec::HostConfig& host);
Result<std::optional<spec::OciPersonality>> personality_of(const spec::HostConfig& host);

// Personality, clocks and files; the umask belongs to each process.
Result<> add_isolation(const spec::HostConfig& host, spec::OciLinux& part);

}  // namespace caisson::engine
