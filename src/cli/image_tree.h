// SPDX-License-Identifier: Apache-2.0
// `images --tree`: each image with its platforms below it.
#pragma once

#include "cli/json_value.h"
#include "cli/output.h"

namespace caisson::cli {

// `images`: the answer of GET /images/json?manifests=1.
void print_image_tree(const JsonValue& images, Output& out);

}  // namespace caisson::cli
