// SPDX-License-Identifier: Apache-2.0
// `docker import`, which shares its endpoint with pull.
#pragma once

#include "api/router.h"

namespace caisson::api {

void import_image(Context& context, Call& call);

}  // namespace caisson::api
