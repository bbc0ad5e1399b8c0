// SPDX-License-Identifier: Apache-2.0
// What commit and import share: names, configurations and documents of images that are made here.
#pragma once

#include <string>

#include "image/image_store.h"
#include "spec/docker_config.h"

namespace caisson::build {

// "repo:tag" in the familiar form, with the tag "latest" where there is none, "" without a repository. kInvalid.
Result<std::string> image_name(const std::string& repo, const std::string& tag);
// A container's configuration as an image has it.
spec::ImageRunConfig run_config_of(const spec::ContainerConfig& config);
// A document as a blob.
Result<> add_text(image::ImageStore& images, const std::string& text);

}  // namespace caisson::build
