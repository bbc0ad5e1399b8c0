// SPDX-License-Identifier: Apache-2.0
// clone3 with namespaces for the first process of a container or one that joins it. Forks the caller's
// memory, so it is for small single-threaded programs only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/process.h"

namespace caisson::sys {

struct NamespaceFd {
  uint64_t type = 0;  // one CLONE_NEW* bit, or several for a pidfd
  int fd = -1;
};

struct ContainerClone {
  uint64_t namespaces = 0;  // CLONE_NEW* to create
  int join_pid = -1;        // pidfd or pid namespace fd whose pid namespace the child is born into
  int cgroup = -1;          // v2 directory fd, the child starts in it
  // Joined before the child's own namespaces are made, for a user namespace among either: what belongs to
  // the caller's rights first, then the user namespace, then what only its rights open.
  std::vector<NamespaceFd> joins;
  // With `joins` or `join_pid`: the only descriptors the child is born with (beside 0 to 2). A process inside
  // that may ptrace sees what a new neighbour holds from its first moment on (CVE-2016-9962), so closing them
  // in the child would be too late. Empty: everything is inherited.
  std::vector<int> keep;
  std::vector<int> cgroup_tasks;  // v1, with keep: written to before the child is born
  // Lines for timens_offsets (time_namespaces(7)); with CLONE_NEWTIME in `namespaces`.
  std::string time_offsets;
};

// Returns twice like fork: in the child with pid 0 and an empty pidfd. Signal handlers of the caller are
// default in the child; its signal mask is inherited.
Result<Child> clone_container_on_this_thread(const ContainerClone& request);

// Whether the process has another namespace of that type ("user", "time") than the caller. kNotFound when
// it is gone.
Result<bool> in_other_namespace(pid_t pid, const char* type);

}  // namespace caisson::sys
