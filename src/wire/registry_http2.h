// SPDX-License-Identifier: Apache-2.0
// HTTP/2 as a registry's client speaks it: one connection, one request at a time, blocking. Frames and header
// compression are nghttp2's; limits are ours.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "wire/http_client.h"
#include "wire/registry_dial.h"

namespace caisson::registry {

// Over a transport whose TLS agreed on "h2". Reads at most 1 MiB ahead of the caller. A head, or the next byte of a
// body, that has not come after `limit_s` is a kTimeout, whatever frames came instead.
Result<std::unique_ptr<Connection>> open_http2(std::unique_ptr<http::Transport> transport, std::string authority,
                                               int limit_s);

}  // namespace caisson::registry
