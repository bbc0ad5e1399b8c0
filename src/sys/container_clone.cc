// SPDX-License-Identifier: Apache-2.0
#include "sys/container_clone.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/files.h"

namespace caisson::sys {

Result<Child> clone_container_on_this_thread(const ContainerClone& request) {
  UniqueFd own_pid_namespace;
  if (request.join_pid >= 0) {
    // setns(CLONE_NEWPID) decides where our next children are born; we ourselves stay where we are and
    // may go back, as the kernel allows the caller's own namespace and its descendants.
    own_pid_namespace = TRY(open_file("/proc/self/ns/pid", O_RDONLY));
    if (setns(request.join_pid, CLONE_NEWPID) < 0) return fail_errno("setns to the pid namespace");
  }
  int pidfd = -1;
  clone_args args{};
  args.flags = request.namespaces | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  if (request.cgroup >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(request.cgroup);
  }
  long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) return Child{};
  int err = errno;
  UniqueFd owned(pidfd);
  if (own_pid_namespace && setns(own_pid_namespace.get(), CLONE_NEWPID) < 0) {
    // Every later child would be born inside the container: better none at all.
    auto error = fail_errno("setns back to the own pid namespace");
    if (pid > 0) syscall(SYS_pidfd_send_signal, owned.get(), SIGKILL, nullptr, 0);
    return error;
  }
  if (pid < 0) return fail_errno_of(err, "clone3");
  return Child{static_cast<pid_t>(pid), std::move(owned)};
}

}  // namespace caisson::sys
