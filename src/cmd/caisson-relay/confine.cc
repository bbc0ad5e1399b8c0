// SPDX-License-Identifier: Apache-2.0
#include "cmd/caisson-relay/confine.h"

#include <fcntl.h>
#include <seccomp.h>
#include <sys/socket.h>

#include "sys/call_filter.h"
#include "sys/drop_privileges.h"

namespace caisson::relay {
namespace {

constexpr uint64_t kMemory = uint64_t{512} << 20;

// Sockets, pipes, memory, time. No file is opened, no program or process started; of connections only those of the
// families below.
constexpr int kAllowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(close),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(accept4),
    SCMP_SYS(connect),
    SCMP_SYS(splice),
    SCMP_SYS(pipe2),
    SCMP_SYS(shutdown),
    SCMP_SYS(sendto),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

Result<> filter_system_calls() {
  auto filter = TRY(sys::CallFilter::create());
  filter.allow(kAllowed);
  for (int family : {AF_INET, AF_INET6}) TRY(filter.allow_argument(SCMP_SYS(socket), 0, static_cast<uint64_t>(family)));
  for (int command : {F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_SETPIPE_SZ})
    TRY(filter.allow_argument(SCMP_SYS(fcntl), 1, static_cast<uint64_t>(command)));
  return filter.load();
}

}  // namespace

Result<> confine() {
  TRY(sys::limit_memory(kMemory));
  // Not dumpable: others of the same user could reach clients' connections through ptrace.
  TRY(sys::drop_privileges());
  return filter_system_calls();
}

}  // namespace caisson::relay
