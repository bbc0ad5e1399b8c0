// SPDX-License-Identifier: Apache-2.0
// What of a container goes along when it is made anew from another image. Pure.
#pragma once

#include "cli/json_value.h"

namespace caisson::cli {

// The body that creates `container` (as inspect shows it) again. What it only had from `image` (as inspect shows that)
// is left to the new image; its volumes and networks go along.
JsonValue updated_config(const JsonValue& container, const JsonValue& image);

}  // namespace caisson::cli
