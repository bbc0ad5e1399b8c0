// SPDX-License-Identifier: Apache-2.0
// `docker commit`: what a container changed becomes a layer, and with its configuration an image over its own.
// Blocking (disk). All or nothing: without the image's record nothing of it stays.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace caisson::build {

struct CommitRequest {
  std::string repo, tag;  // repo "": an image without a name
  std::string author, comment;
  bool pause = true;                               // the container's processes stand still while its files are read
  std::vector<std::string> changes;                // Dockerfile instructions, see config_change.h
  std::optional<spec::ContainerConfig> overrides;  // fields set here win over the container's own, changes over both
};

// The new image's id. kInvalid for names and changes (before anything is done), kConflict for a container that is
// being removed.
Result<std::string> commit(engine::Engine& engine, const engine::ContainerPtr& container, const CommitRequest& request);

// After a restart of the engine: containers that a commit had paused when the engine died go on.
void resume_after_commit(engine::Engine& engine);

}  // namespace caisson::build
