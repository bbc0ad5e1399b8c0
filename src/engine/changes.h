// SPDX-License-Identifier: Apache-2.0
// What a container has changed of its image: `docker diff`. Reads the upper directory of its overlay against
// the image's merged layers; the container may be running.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/container_root.h"
#include "sys/nodes.h"
#include "wire/json.h"

namespace caisson::engine {

enum ChangeKind : int64_t { kModified = 0, kAdded = 1, kDeleted = 2 };

struct Change {
  std::string path;
  int64_t kind = kModified;
  bool operator==(const Change&) const = default;
};
CAISSON_JSON(Change, CAISSON_FIELD("Path", path), CAISSON_FIELD("Kind", kind))

// Made by every start where the image lacks it. `path` without a leading slash.
bool is_mount_point_of_start(const std::string& path, const sys::FileStat& st);

// Sorted by path. Mount points that every start makes are left out, as Docker leaves out its init layer's.
Result<std::vector<Change>> find_changes(const ContainerRoots::Layers& layers);

// Of two whole trees, sorted by path; `upper` is what `lower` became.
Result<std::vector<Change>> find_tree_changes(UniqueFd lower, UniqueFd upper);

}  // namespace caisson::engine
