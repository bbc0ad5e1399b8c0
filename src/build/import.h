// SPDX-License-Identifier: Apache-2.0
// `docker import`: a tar of files becomes an image of one layer.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "engine/engine.h"

namespace caisson::build {

struct ImportRequest {
  std::string repo, tag;  // repo "": an image without a name
  std::string message;
  std::vector<std::string> changes;  // Dockerfile instructions, see config_change.h
  std::string platform;              // "linux/arm64", "" for this machine
};

// What is wrong with the request itself: kInvalid. The name, familiar with its tag, or "".
Result<std::string> check_import(const ImportRequest& request);

// `tar` is uncompressed. The new image's id; the same tar and request differ by the time of creation only. Blocking.
Result<std::string> import_image(engine::Engine& engine, const ImportRequest& request, ByteSource& tar);

}  // namespace caisson::build
