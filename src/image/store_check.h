// SPDX-License-Identifier: Apache-2.0
// What the image store's self-check says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "wire/json.h"

namespace caisson::image {

struct StoreProblem {
  std::string object;               // "blob sha256:...", "layer sha256:..."
  std::string problem;              // "missing", "has 3 bytes instead of 20", "'etc/passwd': other content"
  std::vector<std::string> images;  // names, or ids of those that have none
  bool is_repaired = false;
  std::string action;  // what was done, or what is left to do
};
CAISSON_JSON(StoreProblem, CAISSON_FIELD("Object", object), CAISSON_FIELD("Problem", problem),
             CAISSON_FIELD("Images", images), CAISSON_FIELD("Repaired", is_repaired), CAISSON_FIELD("Action", action))

struct StoreCheck {
  int64_t images = 0, blobs = 0, layers = 0, orphans_removed = 0;
  bool is_deep = false;  // every byte was read
  std::vector<StoreProblem> problems;
};
CAISSON_JSON(StoreCheck, CAISSON_FIELD("Images", images), CAISSON_FIELD("Blobs", blobs),
             CAISSON_FIELD("Layers", layers), CAISSON_FIELD("OrphansRemoved", orphans_removed),
             CAISSON_FIELD("Deep", is_deep), CAISSON_FIELD("Problems", problems))

}  // namespace caisson::image
