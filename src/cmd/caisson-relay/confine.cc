// SPDX-License-Identifier: Apache-2.0
#include "cmd/caisson-relay/confine.h"

#include <fcntl.h>
#include <seccomp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <memory>

#include "sys/drop_privileges.h"

namespace caisson::relay {
namespace {

[[maybe_unused]] constexpr rlim_t kMemory = rlim_t{512} << 20;

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
  for (int family : {AF_INET, AF_INET6})
    TRY(check(seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                               SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(family))),
              "socket"));
  for (int command : {F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_SETPIPE_SZ})
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
  // Not dumpable: others of the same user could reach clients' connections through ptrace.
  TRY(sys::drop_privileges());
  return filter_system_calls();
}

}  // namespace caisson::relay
