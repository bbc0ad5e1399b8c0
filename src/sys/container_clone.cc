// SPDX-License-Identifier: Apache-2.0
#include "sys/container_clone.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "sys/files.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

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

// What the caller's rights open, then the user namespace, then what its rights open. Returns errno.
int join_all(const ContainerClone& request) {
  size_t left = request.joins.size();
  bool done[16] = {};
  if (left > sizeof done) return E2BIG;
  for (int pass = 0; pass < 3 && left; ++pass)
    for (size_t i = 0; i < request.joins.size(); ++i) {
      const auto& join = request.joins[i];
      bool user = join.type & CLONE_NEWUSER;
      if (done[i] || user != (pass == 1)) continue;
      if (setns(join.fd, static_cast<int>(join.type)) == 0) {
        done[i] = true;
        --left;
      } else if (errno != EPERM || pass != 0) {
        return errno;
      }
    }
  return left ? EPERM : 0;
}

// The caller clones a go-between, which sheds everything and then bears the child as the caller's own.
Result<Child> clone_between(const ContainerClone& request) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return fail_errno("pipe");
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  std::vector<int> keep = request.keep;
  if (request.join_pid >= 0) keep.push_back(request.join_pid);
  for (const auto& join : request.joins) keep.push_back(join.fd);
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
    if (!request.keep.empty()) close_all_but(keep);
    bool pid_late = false;
    if (!report.err && request.join_pid >= 0 && setns(request.join_pid, CLONE_NEWPID) < 0) {
      // An ordinary user enters the pid namespace by the rights of the user namespace it belongs to.
      if (errno == EPERM && !request.joins.empty())
        pid_late = true;
      else
        report.err = errno;
    }
    if (!report.err) report.err = join_all(request);
    if (!report.err && pid_late && setns(request.join_pid, CLONE_NEWPID) < 0) report.err = errno;
    if (!report.err) {
      clone_args child{};
      child.flags = CLONE_PARENT | request.namespaces;
      long pid = clone_with(child);
      if (pid == 0) {
        close(write_end.release());
        // With a list of what is kept the number is closed already, and may be nothing of ours.
        if (request.keep.empty())
          read_end.reset();
        else
          (void)read_end.release();
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

// A time namespace takes offsets only while nobody is in it: the caller makes it for its children, and goes
// back to its own for them afterwards.
class TimeForChildren {
 public:
  static Result<TimeForChildren> make(const std::string& offsets) {
    TimeForChildren out;
    out.own_ = TRY(open_file("/proc/self/ns/time_for_children", O_RDONLY));
    if (unshare(CLONE_NEWTIME) < 0) return fail_errno("unshare the time namespace");
    auto written = offsets.empty() ? Result<>() : write_file("/proc/self/timens_offsets", offsets);
    if (!written) {
      TRY(out.restore());
      return std::unexpected(std::move(written).error());
    }
    return out;
  }
  Result<> restore() {
    if (own_ && setns(own_.get(), CLONE_NEWTIME) < 0) return fail_errno("setns back to the own time namespace");
    own_.reset();
    return {};
  }

 private:
  UniqueFd own_;
};

Result<Child> clone_directly(const ContainerClone& request) {
  int pidfd = -1;
  clone_args args{};
  args.flags = request.namespaces | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  if (request.cgroup >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<uint64_t>(request.cgroup);
  }
  long pid = clone_with(args);
  if (pid < 0) return fail_errno("clone3");
  if (pid == 0) return Child{};
  return Child{static_cast<pid_t>(pid), UniqueFd(pidfd)};
}

// Every later child would be born in the container's namespace: better none at all.
Result<Child> undo(Child child, Error error) {
  if (child.pid > 0) {
    syscall(SYS_pidfd_send_signal, child.pidfd.get(), SIGKILL, nullptr, 0);
    (void)wait_child(child);
  }
  return std::unexpected(std::move(error));
}

}  // namespace

Result<Child> clone_container_on_this_thread(const ContainerClone& request) {
  if (request.namespaces & CLONE_NEWTIME) {
    ContainerClone rest = request;
    rest.namespaces &= ~uint64_t{CLONE_NEWTIME};
    auto time = TRY(TimeForChildren::make(request.time_offsets));
    auto child = clone_container_on_this_thread(rest);
    if (child && child->pid == 0) return child;
    if (auto back = time.restore(); !back) return undo(child ? std::move(*child) : Child{}, std::move(back).error());
    return child;
  }
  if (!request.joins.empty() || (request.join_pid >= 0 && !request.keep.empty())) return clone_between(request);
  if (request.join_pid < 0) return clone_directly(request);
  // setns(CLONE_NEWPID) decides where our next children are born; we ourselves stay where we are and
  // may go back, as the kernel allows the caller's own namespace and its descendants.
  auto own = TRY(open_file("/proc/self/ns/pid", O_RDONLY));
  if (setns(request.join_pid, CLONE_NEWPID) < 0) return fail_errno("setns to the pid namespace");
  auto child = clone_directly(request);
  if (child && child->pid == 0) return child;
  if (setns(own.get(), CLONE_NEWPID) < 0) {
    auto error = fail_errno("setns back to the own pid namespace");
    return undo(child ? std::move(*child) : Child{}, std::move(error).error());
  }
  return child;
}

Result<bool> in_other_namespace(pid_t pid, const char* type) {
  struct stat own {
  }, other{};
  if (stat(format("/proc/self/ns/%s", type).c_str(), &own) < 0) return false;  // the kernel has none of that type
  auto path = format("/proc/%d/ns/%s", pid, type);
  if (stat(path.c_str(), &other) < 0) return fail_errno("stat '%s'", path.c_str());
  return own.st_ino != other.st_ino || own.st_dev != other.st_dev;
}

}  // namespace caisson::sys
