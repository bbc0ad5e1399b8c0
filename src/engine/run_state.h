// SPDX-License-Identifier: Apache-2.0
// What a monitor says of its container, put into the container's record.
#pragma once

#include "engine/record.h"
#include "monitor/client.h"

namespace caisson::engine {

// One run has ended, another will follow.
void note_restarting(ContainerRecord& record, const monitor::ExitRecord& exit);
// False when the record says so already.
bool apply_state(ContainerRecord& record, const monitor::Running& running);

}  // namespace caisson::engine
