// SPDX-License-Identifier: Apache-2.0
// Image archives from before Docker 1.10: a `repositories` file and a directory with `json` and `layer.tar` for each
// layer, every layer an image with a parent.
#pragma once

#include <string>
#include <vector>

#include "image/archive_members.h"

namespace caisson::image {

struct LegacyImage {
  std::string config_json;           // as Docker makes it from the old documents, so that the id is the same
  std::vector<SpooledBlob*> layers;  // base first
  std::vector<std::string> tags;     // familiar, with tag
};

// kInvalid for what is inconsistent. One image for each layer that has a name.
Result<std::vector<LegacyImage>> read_legacy_archive(ArchiveMembers& members);

}  // namespace caisson::image
