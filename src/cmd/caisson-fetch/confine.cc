// SPDX-License-Identifier: Apache-2.0
#include "cmd/caisson-fetch/confine.h"

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/call_filter.h"
#include "sys/drop_privileges.h"

#include "base/text.h"

namespace caisson::fetch {
namespace {

struct Limit {
  int resource;
  rlim_t value;
};
// Threads of a worker are few and their buffers bounded; what is beyond is an attack or a bug.
constexpr Limit kLimits[] = {
    {RLIMIT_CORE, 0},
    {RLIMIT_NOFILE, 128},
    {RLIMIT_AS, rlim_t{4} << 30},
    {RLIMIT_FSIZE, rlim_t{1} << 40},
};

// System calls of sockets, threads, memory, reading files and resolving names. No exec, no fork, no signals to
// others, nothing that names a file for writing (the flags of openat are checked below).
constexpr int kAllowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(close),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(fcntl),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(getdents64),
    SCMP_SYS(getcwd),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(eventfd2),
    SCMP_SYS(pipe2),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(sendto),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(shutdown),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(get_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    SCMP_SYS(prlimit64),
    SCMP_SYS(getrlimit),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(memfd_create),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(tgkill),
    SCMP_SYS(arch_prctl),
    SCMP_SYS(getcpu),
};

Result<> filter_system_calls() {
  auto filter = TRY(sys::CallFilter::create());
  filter.allow(kAllowed);
  constexpr uint64_t kWriting = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
  TRY(filter.allow_argument(SCMP_SYS(openat), 2, 0, kWriting));
  (void)filter.allow_argument(SCMP_SYS(open), 1, 0, kWriting).has_value();  // not every architecture has it
  for (int family : {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK})  // unix: nscd; netlink: getaddrinfo's address list
    TRY(filter.allow_argument(SCMP_SYS(socket), 0, static_cast<uint64_t>(family)));
  // Threads only. clone3 hides its flags in memory, so it is said not to exist and glibc falls back to clone.
  TRY(filter.allow_argument(SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD));
  TRY(filter.refuse(SCMP_SYS(clone3), ENOSYS));
  TRY(filter.allow_argument(SCMP_SYS(mprotect), 2, 0, PROT_EXEC));
  TRY(filter.allow_argument(SCMP_SYS(prctl), 0, PR_SET_NAME));
  TRY(filter.allow_argument(SCMP_SYS(ioctl), 1, 0x541b));  // FIONREAD
  return filter.load();
}

}  // namespace

Result<> confine() {
  // Whatever the engine did not mean to hand over. Behind 3, the control socket, nothing is expected.
  if (close_range(4, ~0U, 0) < 0 && errno != ENOSYS) return fail_errno("close_range");
  for (auto [resource, value] : kLimits) {
    rlimit limit{value, value};
    if (setrlimit(static_cast<__rlimit_resource>(resource), &limit) < 0) return fail_errno("setrlimit %d", resource);
  }
  // Not dumpable: credentials are in this memory.
  TRY(sys::drop_privileges());
  // A worker whose engine is gone would end by the closed socket, but only between jobs.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) return fail_errno("prctl PR_SET_PDEATHSIG");
  return filter_system_calls();
}

}  // namespace caisson::fetch
