// SPDX-License-Identifier: Apache-2.0
// The monitor process itself: starts one container, serves the engine's requests, records the end.
#pragma once

#include "base/unique_fd.h"

namespace caisson::monitor {

// `launcher` is the socket on which launch() has put its request. Returns the process's exit code when
// the container has ended and everything has been taken down.
int run_monitor(UniqueFd launcher);

}  // namespace caisson::monitor
