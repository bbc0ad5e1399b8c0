// SPDX-License-Identifier: Apache-2.0
// Who may do what, and who did: requests that change something are logged with their peer, and listeners for
// reading only let nothing else through. Wraps the API's router; the API knows nothing of it.
#pragma once

#include "wire/http_server.h"

namespace caisson {

// Pure: may this request (path with or without the version) come by a listener for reading only?
bool is_reading(const http::Request& request);

http::Router guard_router(http::Router inner);

}  // namespace caisson
