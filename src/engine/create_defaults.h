// SPDX-License-Identifier: Apache-2.0
// What a container gets that does not say: the engine's own defaults, as flags and daemon.json set them.
#pragma once

#include "engine/options.h"
#include "spec/docker_config.h"

namespace caisson::engine {

void apply_engine_defaults(spec::HostConfig& host, const EngineOptions& options, const LiveOptions& live);

}  // namespace caisson::engine
