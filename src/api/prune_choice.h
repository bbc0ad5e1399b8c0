// SPDX-License-Identifier: Apache-2.0
// Which images the filters of POST /images/prune take. The prune itself and what it would do share it.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "base/result.h"
#include "image/image_store.h"

namespace caisson::api {

struct ImageChoice {
  bool dangling_only = true;
  int64_t until_ns = INT64_MAX;
  std::set<std::string> labels, not_labels;

  // {"dangling": [...], "until": [...], "label": [...], "label!": [...]}; kInvalid.
  static Result<ImageChoice> parse(const std::string& filters);
  bool takes(const image::Image& image) const;
};

}  // namespace caisson::api
