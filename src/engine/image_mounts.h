// SPDX-License-Identifier: Apache-2.0
// `--mount type=image`: what an image has, or a directory of it, as a read-only mount of a container.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "spec/oci_runtime.h"

namespace caisson::engine {

// The directories to be put on top of each other, base first. With a subpath only those of it that show.
// kInvalid: the image has no such directory.
Result<std::vector<std::string>> image_mount_layers(const std::vector<std::string>& layers, const std::string& subpath);

// Pure.
spec::OciMount image_mount(const std::string& destination, const std::vector<std::string>& layers);

// "a/b" that stays below where it starts: relative, no "..".
bool is_local_path(const std::string& path);

}  // namespace caisson::engine
