// SPDX-License-Identifier: Apache-2.0
// What systemd (or anything that speaks its two small protocols) and a service tell each other: sd_notify(3)
// and sd_listen_fds(3), without its library.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::sys {

// "READY=1", "STOPPING=1\nSTATUS=...". Nothing happens where nobody asked to be told. Does not block.
Result<> notify_service_manager(std::string_view state);

// The sockets that were opened for this process, from descriptor 3 on, now close-on-exec and non-blocking. The
// variables that announced them are removed, so that no child takes them for its own. Once, before threads.
Result<std::vector<UniqueFd>> take_activation_sockets();

}  // namespace caisson::sys
