// SPDX-License-Identifier: Apache-2.0
// The handlers about a container's log; their routes stand with the container's.
#pragma once

#include "api/log_follower.h"
#include "api/router.h"

namespace caisson::api {

void logs_of(Context& context, Call& call);
void clear_logs_of(Context& context, Call& call);

// attach with logs=1: what has been logged goes to `socket`; gives where the live stream goes on. Blocks as
// long as the client takes, 30 s without progress at most.
Result<logs::LogCursor> send_log(int socket, logs::LogReader& reader, const LogShape& shape);

// After a send_log() whose container turned out to be ending: what came to the log since, once it is complete. Blocks
// for the container's end, 10 s at most, and the client as above.
void send_rest_of_log(engine::Container& container, int socket, logs::LogReader& reader, const LogShape& shape);

}  // namespace caisson::api
