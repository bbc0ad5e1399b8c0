// SPDX-License-Identifier: Apache-2.0
// SIGHUP: reads flags and daemon.json anew and changes what may change while the engine runs.
#pragma once

#include "engine/engine.h"

namespace caisson {

// Logs what came of it; a file that is no good changes nothing. The seconds that requests under way have at the
// stop, where that was read. Loop thread.
void reload_configuration(int argc, char** argv, engine::Engine& engine, int& request_timeout_s);

}  // namespace caisson
