// SPDX-License-Identifier: Apache-2.0
#include "cmd/caisson-gate/confine.h"

#include <linux/capability.h>
#include <seccomp.h>

#include <fcntl.h>

#include "sys/call_filter.h"
#include "sys/drop_privileges.h"

namespace caisson::gate {
namespace {

constexpr uint64_t kMemory = uint64_t{128} << 20;

// Messages of sockets that are there already, and of engines that come. No file is opened, no socket made, no program
// or process started.
constexpr int kAllowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(close),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(accept4),
    SCMP_SYS(sendto),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(getsockopt),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

Result<> filter_system_calls() {
  auto filter = TRY(sys::CallFilter::create());
  filter.allow(kAllowed);
  for (int command : {F_GETFL, F_SETFL, F_GETFD, F_SETFD})
    TRY(filter.allow_argument(SCMP_SYS(fcntl), 1, static_cast<uint64_t>(command)));
  return filter.load();
}

}  // namespace

Result<> confine() {
  TRY(sys::limit_memory(kMemory));
  // Each verdict, and each mark on a packet, asks for CAP_NET_ADMIN again; the raw sockets are open by now.
  TRY(sys::drop_privileges(CAP_NET_ADMIN));
  return filter_system_calls();
}

}  // namespace caisson::gate
