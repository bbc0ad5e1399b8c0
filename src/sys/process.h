// SPDX-License-Identifier: Apache-2.0
// Starting programs. This file's .cc is the only place that calls clone, fork or vfork; a threaded
// process uses spawn() only.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::sys {

struct SpawnRequest {
  std::string program;                   // path, no lookup in PATH
  std::vector<std::string> args;         // argv, [0] included
  std::vector<std::string> env;          // "K=V"; empty means an empty environment
  std::vector<std::pair<int, int>> fds;  // {fd here, fd number in the child}; 0-2 default to /dev/null
  std::string directory = "/";           // chdir before exec
  bool new_session = false;              // setsid: survives the parent's terminal
  bool die_with_parent = false;          // PR_SET_PDEATHSIG SIGKILL (tied to the calling *thread*)
};

struct Child {
  pid_t pid = 0;
  UniqueFd pidfd;
};

// clone(CLONE_VM|CLONE_VFORK|CLONE_PIDFD): cost does not grow with the caller's memory, safe with
// threads. All signals are reset to default and unblocked in the child; every fd not named is closed
// by O_CLOEXEC. An exec failure comes back as this call's error.
Result<Child> spawn(const SpawnRequest& request);

// Exit status as a shell tells it: code, or 128 + signal. Blocks; the pidfd's process must be our child.
Result<int> wait_child(const Child& child);

// Collects a child of ours that has ended; false while it runs. kNotFound: not our child.
Result<bool> reap_child(int pidfd);

Result<UniqueFd> open_pidfd(pid_t pid);
// kNotFound when the process is gone already.
Result<> signal_pidfd(int pidfd, int signal);

// To the process group that the process leads, its children included; to the process alone where it leads none or
// the kernel cannot name groups that way.
Result<> signal_group_of_pidfd(int pidfd, int signal);

// In the caller's pid namespace. kNotFound when the process is gone.
Result<pid_t> pid_of_pidfd(int pidfd);

// A copy of a descriptor of another process (pidfd_getfd). EBADF: it has none of that number.
Result<UniqueFd> descriptor_of(int pidfd, int number);

// Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat): with the pid it names
// one process for good, also over an engine restart.
Result<uint64_t> process_start_time(pid_t pid);

}  // namespace caisson::sys
