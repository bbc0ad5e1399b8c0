// SPDX-License-Identifier: Apache-2.0
#include "sys/user_namespace.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/text.h"
#include "sys/files.h"
#include "sys/process.h"

namespace caisson::sys {

namespace {

Result<UniqueFd> map_and_open(pid_t pid, const std::string& uid_map, const std::string& gid_map) {
  TRY_CTX(write_file(format("/proc/%d/uid_map", pid), uid_map), "map user ids");
  TRY_CTX(write_file(format("/proc/%d/gid_map", pid), gid_map), "map group ids");
  return open_file(format("/proc/%d/ns/user", pid), O_RDONLY);
}

}  // namespace

Result<UniqueFd> make_user_namespace(const std::string& uid_map, const std::string& gid_map) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return fail_errno("pipe");
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  int pidfd = -1;
  clone_args args{};
  args.flags = CLONE_NEWUSER | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
  args.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0) return fail_errno("clone3 into a new user namespace");
  if (pid == 0) {
    // Until the caller is done or dead.
    close(write_end.release());
    char byte;
    while (read(read_end.get(), &byte, 1) < 0 && errno == EINTR) {
    }
    _exit(0);
  }
  Child child{static_cast<pid_t>(pid), UniqueFd(pidfd)};
  auto made = map_and_open(child.pid, uid_map, gid_map);
  write_end.reset();
  TRY(wait_child(child));
  return made;
}

}  // namespace caisson::sys
