// SPDX-License-Identifier: Apache-2.0
#include "cmd/caisson-gate/confine.h"

#include <linux/capability.h>
#include <seccomp.h>
#include <sys/resource.h>

#include <fcntl.h>

#include <memory>

#include "sys/drop_privileges.h"

namespace caisson::gate {
namespace {

[[maybe_unused]] constexpr rlim_t kMemory = rlim_t{128} << 20;

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

struct ReleaseFilter {
  void operator()(void* filter) const { seccomp_release(filter); }
};

Result<> filter_system_calls() {
  std::unique_ptr<void, ReleaseFilter> filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (!filter) return fail(ErrorKind::kExhausted, "seccomp_init: no memory");
  auto check = [](int status, const char* what) -> Result<> {
    return status < 0 ? fail_errno_of(-status, "seccomp rule '%s'", what) : Result<>();
  };
  // A name this architecture does not have is no gap: what is not allowed is refused.
  for (int call : kAllowed) (void)seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0);
  for (int command : {F_GETFL, F_SETFL, F_GETFD, F_SETFD})
    TRY(check(seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                               SCMP_A1(SCMP_CMP_EQ, static_cast<scmp_datum_t>(command))),
              "fcntl"));
  return check(seccomp_load(filter.get()), "load");
}

}  // namespace

Result<> confine() {
  rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) < 0) return fail_errno("setrlimit RLIMIT_CORE");
#ifndef __SANITIZE_ADDRESS__  // it reserves terabytes
  rlimit memory{kMemory, kMemory};
  if (setrlimit(RLIMIT_AS, &memory) < 0) return fail_errno("setrlimit RLIMIT_AS");
#endif
  // Each verdict, and each mark on a packet, asks for CAP_NET_ADMIN again; the raw sockets are open by now.
  TRY(sys::drop_privileges(CAP_NET_ADMIN));
  return filter_system_calls();
}

}  // namespace caisson::gate
