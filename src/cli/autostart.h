// SPDX-License-Identifier: Apache-2.0
// Starting the engine when nobody listens on its socket.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace caisson::cli {

// Spawns the engine program that lies beside this one and waits until `socket` accepts, at most five
// seconds. Two clients may do this at once: the engine's own lock lets one live, both then connect.
// `name_host`: pass the socket to the engine. CAISSON_AUTOSTART_ARGS adds flags.
Result<> start_engine(const std::string& socket, bool name_host, const std::vector<std::string>& environment);

}  // namespace caisson::cli
