// SPDX-License-Identifier: Apache-2.0
#include "cmd/caisson-tls/confine.h"

#include <seccomp.h>
#include <sys/resource.h>

#include "sys/call_filter.h"
#include "sys/drop_privileges.h"

namespace caisson::tls {
namespace {

// Sockets that are open already, memory, time. No file, no new program, no process, no connection of its own.
constexpr int kAllowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(close),
    SCMP_SYS(fcntl),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(eventfd2),
    SCMP_SYS(socketpair),
    SCMP_SYS(sendto),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(poll),
    SCMP_SYS(tgkill),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(getcpu),
};

Result<> filter_system_calls() {
  auto filter = TRY(sys::CallFilter::create());
  filter.allow(kAllowed);
  return filter.load();
}

}  // namespace

Result<> confine() {
  rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) < 0) return fail_errno("setrlimit");
  // Not dumpable: the key is in this memory.
  TRY(sys::drop_privileges());
  return filter_system_calls();
}

}  // namespace caisson::tls
