// SPDX-License-Identifier: Apache-2.0
#include "sys/process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/text.h"
#include "sys/files.h"

namespace caisson::sys {

namespace {

constexpr size_t kStackSize = 64 << 10;

// Everything the child touches, prepared by the parent: between clone and exec nothing is allocated.
struct SpawnPlan {
  const char* program;
  char* const* argv;
  char* const* envp;
  const char* directory;
  const std::pair<int, int>* fds;
  size_t fd_count;
  int dev_null;
  int spare_from;  // fds at and above this number are free for shuffling
  bool new_session;
  bool die_with_parent;
  int error;
  const char* step;
};

int child_main(void* argument) {
  auto* plan = static_cast<SpawnPlan*>(argument);
  auto give_up = [plan](const char* step) {
    plan->error = errno;
    plan->step = step;
    _exit(127);
    return 127;
  };
  struct sigaction reset {};
  reset.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction current {};
    if (sigaction(number, nullptr, &current) == 0 && current.sa_handler != SIG_DFL) sigaction(number, &reset, nullptr);
  }
  sigset_t none;
  sigemptyset(&none);
  if (plan->new_session && setsid() < 0) return give_up("setsid");
  if (plan->die_with_parent && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) return give_up("prctl PR_SET_PDEATHSIG");
  // Two passes, so that a target number that is another entry's source is not overwritten too early.
  int moved[32];
  if (plan->fd_count > 32) {
    errno = E2BIG;
    return give_up("dup");
  }
  for (size_t i = 0; i < plan->fd_count; ++i) {
    moved[i] = fcntl(plan->fds[i].first, F_DUPFD_CLOEXEC, plan->spare_from);
    if (moved[i] < 0) return give_up("dup");
  }
  bool given[3] = {false, false, false};
  for (size_t i = 0; i < plan->fd_count; ++i) {
    int target = plan->fds[i].second;
    if (target < 3) given[target] = true;
    if (dup2(moved[i], target) < 0) return give_up("dup2");
  }
  for (int target = 0; target < 3; ++target)
    if (!given[target] && dup2(plan->dev_null, target) < 0) return give_up("dup2");
  if (chdir(plan->directory) < 0) return give_up("chdir");
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(plan->program, plan->argv, plan->envp);
  return give_up("execve");
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (const auto& text : strings) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

}  // namespace

Result<Child> spawn(const SpawnRequest& request) {
  auto argv = pointers(request.args), envp = pointers(request.env);
  auto dev_null = TRY(open_file("/dev/null", O_RDWR));
  int highest = 2;
  for (auto [from, to] : request.fds) highest = std::max({highest, from, to});
  SpawnPlan plan{};
  plan.program = request.program.c_str();
  plan.argv = argv.data();
  plan.envp = envp.data();
  plan.directory = request.directory.c_str();
  plan.fds = request.fds.data();
  plan.fd_count = request.fds.size();
  plan.dev_null = dev_null.get();
  plan.spare_from = highest + 1;
  plan.new_session = request.new_session;
  plan.die_with_parent = request.die_with_parent;

  void* stack = mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return fail_errno("mmap");
  // No handler of ours may run in the child while it shares our memory.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int pidfd = -1;
  int pid = clone(child_main, static_cast<char*>(stack) + kStackSize, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD,
                  &plan, &pidfd);
  int err = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  munmap(stack, kStackSize);
  if (pid < 0) return fail_errno_of(err, "clone for '%s'", plan.program);
  Child child{pid, UniqueFd(pidfd)};
  if (plan.error) {
    [[maybe_unused]] auto reaped = wait_child(child);
    return fail_errno_of(plan.error, "start '%s': %s", plan.program, plan.step);
  }
  return child;
}

Result<int> wait_child(const Child& child) {
  siginfo_t info{};
  while (waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(child.pidfd.get()), &info, WEXITED) < 0)
    if (errno != EINTR) return fail_errno("waitid");
  return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

Result<bool> reap_child(int pidfd) {
  siginfo_t info{};
  if (waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG) < 0) {
    if (errno == ECHILD) return fail(ErrorKind::kNotFound, "waitid: not a child of this process");
    return fail_errno("waitid");
  }
  return info.si_pid != 0;
}

Result<UniqueFd> open_pidfd(pid_t pid) {
  long fd = syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) return fail_errno("pidfd_open %d", pid);
  return UniqueFd(static_cast<int>(fd));
}

Result<> signal_pidfd(int pidfd, int signal) {
  if (syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) < 0) return fail_errno("pidfd_send_signal %d", signal);
  return {};
}

Result<> signal_group_of_pidfd(int pidfd, int signal) {
  constexpr unsigned kProcessGroup = 1u << 2;  // PIDFD_SIGNAL_PROCESS_GROUP
  auto pid = pid_of_pidfd(pidfd);
  // COMPAT(linux<6.9): no process groups.
  if (pid && getpgid(*pid) == *pid && syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, kProcessGroup) == 0)
    return {};
  return signal_pidfd(pidfd, signal);
}

Result<pid_t> pid_of_pidfd(int pidfd) {
  auto info = TRY(read_file(format("/proc/self/fdinfo/%d", pidfd), 4096));
  for (auto& line : split(info, '\n'))
    if (line.starts_with("Pid:"))
      if (auto pid = parse_int(trim(std::string_view(line).substr(4))); pid && *pid > 0)
        return static_cast<pid_t>(*pid);
  return fail(ErrorKind::kNotFound, "the process is gone");
}

Result<UniqueFd> descriptor_of(int pidfd, int number) {
  long fd = syscall(SYS_pidfd_getfd, pidfd, number, 0);
  if (fd < 0) return fail_errno("pidfd_getfd");
  return UniqueFd(static_cast<int>(fd));
}

Result<uint64_t> process_start_time(pid_t pid) {
  auto text = TRY(read_file(format("/proc/%d/stat", pid), 4096));
  // The command name may hold anything, parentheses included; fields count from after the last ')'.
  size_t close_at = text.rfind(')');
  if (close_at == std::string::npos) return fail(ErrorKind::kCorrupt, "/proc/%d/stat has no command", pid);
  auto fields = split(std::string_view(text).substr(close_at + 2), ' ');
  if (fields.size() < 20) return fail(ErrorKind::kCorrupt, "/proc/%d/stat is short", pid);
  auto value = parse_uint(fields[19]);
  if (!value) return fail(ErrorKind::kCorrupt, "/proc/%d/stat has no start time", pid);
  return *value;
}

}  // namespace caisson::sys
