// SPDX-License-Identifier: Apache-2.0
// Images as rows of `images` and `system df`.
#pragma once

#include <span>
#include <vector>

#include "cli/json_value.h"
#include "cli/listing.h"

namespace caisson::cli {

std::span<const Column> image_columns();

struct ImageRowOptions {
  bool truncate = true;
  bool digests = false;  // else they are all "<none>"
};
// One row per repository and tag, from an element of GET /images/json.
std::vector<JsonValue> image_rows(const JsonValue& image, const ImageRowOptions& options);

}  // namespace caisson::cli
