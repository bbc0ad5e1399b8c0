// SPDX-License-Identifier: Apache-2.0
// What `system df` and the volume family share: volumes in Docker's form, and who uses them.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "engine/engine.h"
#include "spec/docker_container.h"
#include "volume/volume_store.h"

namespace caisson::api {

struct VolumeUsage {
  int64_t size = -1, ref_count = -1;
};
CAISSON_JSON(VolumeUsage, CAISSON_FIELD("RefCount", ref_count), CAISSON_FIELD("Size", size))

struct VolumeEntry {
  std::string created_at, driver = "local", mountpoint, name, scope = "local";
  spec::StringMap labels, options;
  std::optional<VolumeUsage> usage;
};
CAISSON_JSON(VolumeEntry, CAISSON_FIELD("CreatedAt", created_at), CAISSON_FIELD("Driver", driver),
             CAISSON_FIELD("Labels", labels), CAISSON_FIELD("Mountpoint", mountpoint), CAISSON_FIELD("Name", name),
             CAISSON_FIELD("Options", options), CAISSON_FIELD("Scope", scope), CAISSON_FIELD_OMIT("UsageData", usage))

VolumeEntry describe_volume(const volume::Volume& volume);
// Containers that have a volume of this name mounted, running or not.
std::map<std::string, int64_t> count_volume_users(engine::Engine& engine);

}  // namespace caisson::api
