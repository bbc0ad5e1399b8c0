// SPDX-License-Identifier: Apache-2.0
#include "sys/container_clone.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "sys/files.h"

namespace caisson::sys {

namespace {

long clone_with(clone_args& args) { return syscall(SYS_clone3, &args, sizeof args); }

struct Report {
  int32_t pid = 0, err = 0;
};

// In the process between: outside of the container still, with a descriptor table of its own.
void close_all_but(const std::vector<int>& sorted) {
  unsigned next = 3;
  for (int fd : sorted) {
    auto keep = static_cast<unsigned>(fd);
    if (keep < next) continue;
    if (keep > next) syscall(SYS_close_range, next, keep - 1, 0);
    next = keep + 1;
  }
  syscall(SYS_close_range, next, ~0u, 0);
}

// The caller clones a go-between, which sheds everything and then bears the child as the caller's own.
Result<Child> clone_bare(const ContainerClone& request) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return fail_errno("pipe");
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  std::vector<int> keep = request.keep;
  keep.push_back(request.join_pid);
  keep.push_back(write_end.get());
  std::sort(keep.begin(), keep.end());

  int between_fd = -1;
  clone_args args{};
  args.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
  args.pidfd = reinterpret_cast<uint64_t>(&between_fd);
  args.exit_signal = SIGCHLD;
  if (request.cgroup >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(request.cgroup);
  }
  long between = clone_with(args);
  if (between == 0) {
    Report report;
    for (int tasks : request.cgroup_tasks)
      if (!report.err && write(tasks, "0", 1) < 0) report.err = errno;
    close_all_but(keep);
    if (!report.err && setns(request.join_pid, CLONE_NEWPID) < 0) report.err = errno;
    if (!report.err) {
      clone_args child{};
      child.flags = CLONE_PARENT | request.namespaces;
      long pid = clone_with(child);
      if (pid == 0) {
        close(write_end.release());
        return Child{};
      }
      report.pid = static_cast<int32_t>(pid);
      if (pid < 0) report.err = errno;
    }
    [[maybe_unused]] ssize_t told = write(write_end.get(), &report, sizeof report);
    _exit(0);
  }
  if (between < 0) return fail_errno("clone3");
  Child go_between{static_cast<pid_t>(between), UniqueFd(between_fd)};
  write_end.reset();
  Report report;
  ssize_t got;
  while ((got = read(read_end.get(), &report, sizeof report)) < 0 && errno == EINTR) {
  }
  TRY(wait_child(go_between));
  if (got != sizeof report) return fail(ErrorKind::kInternal, "clone3: the process between ended early");
  if (report.err) return fail_errno_of(report.err, "clone3 into the container");
  return Child{report.pid, TRY(open_pidfd(report.pid))};
}

}  // namespace

Result<Child> clone_container_on_this_thread(const ContainerClone& request) {
  if (request.join_pid >= 0 && !request.keep.empty()) return clone_bare(request);
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
