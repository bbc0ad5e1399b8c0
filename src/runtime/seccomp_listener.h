// SPDX-License-Identifier: Apache-2.0
// The agent that answers for a filter's SCMP_ACT_NOTIFY: it is given the filter's descriptor and the
// container's state, as the OCI runtime spec's containerProcessState has it.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/result.h"
#include "runtime/container.h"

namespace caisson::runtime {

struct ListenerTarget {
  std::string path, metadata;  // of the plan
  HookState state;
  std::string status = "creating";  // the container's
};

// The text that goes to the agent.
std::string listener_message(const ListenerTarget& target, pid_t pid);

// Waits until descriptor `number` exists in the process, takes a copy and sends it. Success without having
// sent anything when the process ends before.
Result<> hand_over_listener(int child_pidfd, int number, const ListenerTarget& target, pid_t pid);

}  // namespace caisson::runtime
