// SPDX-License-Identifier: Apache-2.0
// The eyes of the runtime tests inside a container, for what no shell command shows.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// call NUMBER [ARGUMENT...]: "ok VALUE" or the name of the error.
static int call(char** argv) {
  long a[7] = {0};
  for (int i = 0; i < 7 && argv[i]; i++) a[i] = strtoul(argv[i], NULL, 0);
  errno = 0;
  long r = syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
  if (r == -1 && errno) printf("%s\n", strerrorname_np(errno) ? strerrorname_np(errno) : "unknown");
  else printf("ok %ld\n", r);
  return 0;
}

struct sched_attributes {
  unsigned size, policy;
  unsigned long long flags;
  int nice;
  unsigned priority;
  unsigned long long runtime, deadline, period;
  unsigned util_min, util_max;
};

static int scheduler(void) {
  struct sched_attributes a = {0};
  if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) < 0) return perror("sched_getattr"), 1;
  printf("policy=%u flags=%llu nice=%d priority=%u runtime=%llu deadline=%llu period=%llu\n", a.policy, a.flags, a.nice, a.priority, a.runtime,
         a.deadline, a.period);
  return 0;
}

static int memory_policy(void) {
  int mode = -1;
  unsigned long nodes[16] = {0};
  if (syscall(SYS_get_mempolicy, &mode, nodes, sizeof nodes * 8, 0, 0) < 0) return perror("get_mempolicy"), 1;
  printf("mode=%d nodes=%lu\n", mode, nodes[0]);
  return 0;
}

static int affinity(void) {
  cpu_set_t set;
  sched_getaffinity(0, sizeof set, &set);
  for (int i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, &set)) printf("%d ", i);
  puts("");
  return 0;
}

static int clocks(void) {
  struct timespec m, b;
  clock_gettime(CLOCK_MONOTONIC, &m);
  clock_gettime(CLOCK_BOOTTIME, &b);
  printf("%ld.%09ld %ld.%09ld\n", m.tv_sec, m.tv_nsec, b.tv_sec, b.tv_nsec);
  return 0;
}

static void on_sys(int number, siginfo_t* info, void* unused) {
  printf("SIGSYS %d\n", info->si_syscall);
  fflush(stdout);
  _exit(0);
}

// trap NUMBER: what a handler of SIGSYS is told.
static int trap(char** argv) {
  struct sigaction action = {.sa_sigaction = on_sys, .sa_flags = SA_SIGINFO};
  sigaction(SIGSYS, &action, NULL);
  return call(argv);
}

// thread-kill NUMBER: whether the process outlives one of its threads.
static int stack[65536];
static long the_call;
static int thread(void* unused) {
  syscall(the_call, 0, 0, 0);
  return 0;
}
static int thread_kill(char** argv) {
  the_call = strtol(argv[0], NULL, 0);
  int tid = 1;
  if (clone(thread, stack + 65536, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID, NULL,
            NULL, NULL, &tid) < 0)
    return perror("clone"), 1;
  for (int i = 0; i < 1000 && __atomic_load_n(&tid, __ATOMIC_SEQ_CST) != 0; i++) usleep(1000);
  puts("the process goes on");
  return 0;
}

static int descriptors(void) {
  char path[64], target[4096];
  for (int fd = 0; fd < 4096; fd++) {
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < 0) continue;
    target[n] = 0;
    printf("%d %s\n", fd, target);
  }
  return 0;
}

// signals: those ignored and blocked.
static int signals(void) {
  char line[256];
  FILE* file = fopen("/proc/self/status", "r");
  while (fgets(line, sizeof line, file))
    if (!strncmp(line, "SigIgn", 6) || !strncmp(line, "SigBlk", 6)) fputs(line, stdout);
  return 0;
}

static int try_write(char** argv) {
  int fd = open(argv[0], O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  puts(fd < 0 ? strerrorname_np(errno) : "ok");
  return 0;
}

static int session(void) {
  printf("sid=%d pgrp=%d pid=%d foreground=%d\n", getsid(0), getpgrp(), getpid(), tcgetpgrp(0));
  return 0;
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const char* what = argv[1];
  if (!strcmp(what, "call")) return call(argv + 2);
  if (!strcmp(what, "scheduler")) return scheduler();
  if (!strcmp(what, "memory-policy")) return memory_policy();
  if (!strcmp(what, "affinity")) return affinity();
  if (!strcmp(what, "clocks")) return clocks();
  if (!strcmp(what, "trap")) return trap(argv + 2);
  if (!strcmp(what, "thread-kill")) return thread_kill(argv + 2);
  if (!strcmp(what, "descriptors")) return descriptors();
  if (!strcmp(what, "signals")) return signals();
  if (!strcmp(what, "try-write")) return try_write(argv + 2);
  if (!strcmp(what, "session")) return session();
  if (!strcmp(what, "uid")) return printf("%d\n", geteuid()), 0;
  if (!strcmp(what, "keyring")) return printf("%ld\n", syscall(SYS_keyctl, 0, -3, 0)), 0;
  if (!strcmp(what, "ioprio")) return printf("%ld\n", syscall(SYS_ioprio_get, 1, 0)), 0;
  if (!strcmp(what, "machine")) {
    struct utsname u;
    uname(&u);
    return puts(u.machine), 0;
  }
  return 2;
}
