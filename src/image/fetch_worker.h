// SPDX-License-Identifier: Apache-2.0
// The fetch worker's loop: jobs in from the control socket, one thread per job, answers out. Linked into
// caisson-fetch, and into tests that run it on a thread; the engine itself never calls it.
#pragma once

#include "base/result.h"
#include "image/fetch_transfer.h"

namespace caisson::image {

inline constexpr int kMaxJobsAtOnce = 16;  // more than the engine ever has under way

// Runs until the peer closes `control`. Blocks. SIGPIPE must be ignored.
Result<> serve_fetch(int control, RetryPolicy retries = {});

}  // namespace caisson::image
