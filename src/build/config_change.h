// SPDX-License-Identifier: Apache-2.0
// One Dockerfile instruction applied to a configuration: `docker commit --change`, `docker import --change`.
// Pure. Source: Dockerfile reference; only instructions that make no layer.
#pragma once

#include <string>

#include "base/result.h"
#include "spec/docker_config.h"

namespace caisson::build {

// CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR. kInvalid with one
// sentence for anything else and for what the instruction does not take; `config` may be half changed then.
Result<> apply_change(spec::ContainerConfig& config, const std::string& line);

}  // namespace caisson::build
