// SPDX-License-Identifier: Apache-2.0
// The default profile as a table: groups of system calls with the conditions under which they are
// allowed. Equal in effect to what Docker 28 loads; everything not named is refused with EPERM.
#include "base/text.h"
#include "runtime/default_spec.h"
#include "runtime/seccomp_profile.h"

namespace caisson::runtime {

namespace {

enum ArchSet : uint8_t { kEvery, kAmd64, kArm64 };

struct Group {
  const char* names;       // separated by single blanks
  const char* capability;  // nullptr: none needed
  ArchSet arch;
};

constexpr Group kGroups[] = {
    // Harmless, or confined by namespaces, capabilities and file permissions.
    {"accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 "
     "clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 "
     "clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 "
     "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait "
     "epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 "
     "fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl "
     "fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 "
     "fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait "
     "futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 "
     "getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername "
     "getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 "
     "getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr "
     "getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy "
     "io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc "
     "kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link "
     "linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat "
     "lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod "
     "mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive "
     "mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv "
     "msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat "
     "openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll "
     "ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 "
     "pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg "
     "recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 "
     "restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo "
     "rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo "
     "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam "
     "sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity "
     "sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop "
     "semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list "
     "set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups "
     "setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid "
     "setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat "
     "shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall "
     "socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range "
     "syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime "
     "timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 "
     "timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink "
     "unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write "
     "writev",
     nullptr, kEvery},
    {"arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2", nullptr, kArm64},
    {"arch_prctl modify_ldt", nullptr, kAmd64},
    {"open_by_handle_at", "CAP_DAC_READ_SEARCH", kEvery},
    {"bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr "
     "lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl "
     "quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
     "CAP_SYS_ADMIN", kEvery},
    {"reboot", "CAP_SYS_BOOT", kEvery},
    {"chroot", "CAP_SYS_CHROOT", kEvery},
    {"delete_module finit_module init_module", "CAP_SYS_MODULE", kEvery},
    {"acct", "CAP_SYS_PACCT", kEvery},
    {"kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace", "CAP_SYS_PTRACE", kEvery},
    {"ioperm iopl", "CAP_SYS_RAWIO", kEvery},
    {"clock_settime clock_settime64 settimeofday stime", "CAP_SYS_TIME", kEvery},
    {"vhangup", "CAP_SYS_TTY_CONFIG", kEvery},
    {"get_mempolicy mbind set_mempolicy set_mempolicy_home_node", "CAP_SYS_NICE", kEvery},
    {"syslog", "CAP_SYSLOG", kEvery},
    {"bpf", "CAP_BPF", kEvery},
    {"perf_event_open", "CAP_PERFMON", kEvery},
};

// All CLONE_NEW* bits except CLONE_NEWTIME, which clone(2) cannot express.
constexpr uint64_t kNamespaceBits = 0x7e020000;
constexpr uint32_t kEnosys = 38;

bool has(const SeccompContext& context, const char* capability) {
  auto number = capability_number(capability);
  return number && ((context.capabilities >> *number) & 1);
}

spec::OciSyscall allow(const char* names) { return {split(names, ' '), "SCMP_ACT_ALLOW", {}, {}}; }

spec::OciSyscall allow_if(const char* name, const char* op, uint64_t value, uint64_t value_two = 0) {
  return {{name}, "SCMP_ACT_ALLOW", {}, {{0, value, value_two, op}}};
}

}  // namespace

spec::OciSeccomp default_seccomp(const SeccompContext& context) {
  spec::OciSeccomp out;
  out.default_action = "SCMP_ACT_ERRNO";
  out.default_errno_ret = 1;
  ArchSet own = context.arch == "arm64" ? kArm64 : kAmd64;
  if (own == kArm64)
    out.architectures = {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"};
  else
    out.architectures = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
  for (const auto& group : kGroups) {
    if (group.arch != kEvery && group.arch != own) continue;
    if (group.capability && !has(context, group.capability)) continue;
    out.syscalls.push_back(allow(group.names));
  }
  // Before 4.8 a traced process could slip its own filter.
  if (context.kernel >= KernelVersion{4, 8}) out.syscalls.push_back(allow("process_vm_readv process_vm_writev ptrace"));
  // Every family but 38 (AF_ALG, the kernel's crypto) and 40 (AF_VSOCK, a door to the hypervisor).
  out.syscalls.push_back(allow_if("socket", "SCMP_CMP_LT", 38));
  out.syscalls.push_back(allow_if("socket", "SCMP_CMP_EQ", 39));
  out.syscalls.push_back(allow_if("socket", "SCMP_CMP_GT", 40));
  // Linux, 32 bit, UNAME26, both, and asking for the present value.
  for (uint64_t persona : {0x0u, 0x8u, 0x20000u, 0x20008u, 0xffffffffu})
    out.syscalls.push_back(allow_if("personality", "SCMP_CMP_EQ", persona));
  if (!has(context, "CAP_SYS_ADMIN")) {
    out.syscalls.push_back(allow_if("clone", "SCMP_CMP_MASKED_EQ", kNamespaceBits));
    // Its flags lie in memory, where no filter can look; libc falls back to clone on ENOSYS.
    out.syscalls.push_back({{"clone3"}, "SCMP_ACT_ERRNO", kEnosys, {}});
  }
  return out;
}

}  // namespace caisson::runtime
