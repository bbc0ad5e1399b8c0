// SPDX-License-Identifier: Apache-2.0
// caisson-init: the first process of a container started with --init. Runs the given command, passes
// signals on to it, collects processes that lost their parent, and ends with the command's exit code.
// It links nothing of this tree, so that it stays a file of its own that fits into any container; for
// that reason it is the one place outside src/sys that makes a process.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

// Signals that mean this process itself, not the command.
bool is_fault(int number) {
  return number == SIGFPE || number == SIGILL || number == SIGSEGV || number == SIGBUS || number == SIGABRT ||
         number == SIGTRAP || number == SIGSYS;
}
bool is_own(int number) { return number == SIGCHLD || number == SIGTTIN || number == SIGTTOU || is_fault(number); }

pid_t start(char** command, const sigset_t& before, int* error) {
  volatile int failure = 0;
  // vfork: the command replaces the child at once, and until then only its own frame is used.
  pid_t child = vfork();
  if (child == 0) {
    // A group of its own in the terminal's foreground, so that what the user types reaches the command
    // once, not a second time through us.
    setpgid(0, 0);
    tcsetpgrp(STDIN_FILENO, getpid());
    signal(SIGTTIN, SIG_DFL);
    signal(SIGTTOU, SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, nullptr);
    execvp(command[0], command);
    failure = errno;
    _exit(failure == ENOENT ? 127 : 126);
  }
  *error = child < 0 ? errno : failure;
  return child;
}

}  // namespace

int main(int argc, char** argv) {
  int first = 1;
  if (argc > 1 && strcmp(argv[1], "--version") == 0) {
    puts("caisson-init version 0.1.0");
    return 0;
  }
  if (argc > 1 && strcmp(argv[1], "--") == 0) first = 2;
  if (first >= argc) {
    fputs("usage: caisson-init [--] COMMAND [ARGUMENT...]\n", stderr);
    return 2;
  }
  sigset_t waited, before;
  sigfillset(&waited);
  for (int number = 1; number < NSIG; ++number)
    if (is_fault(number)) sigdelset(&waited, number);
  // tcsetpgrp from the background stops its caller unless these are ignored.
  signal(SIGTTIN, SIG_IGN);
  signal(SIGTTOU, SIG_IGN);
  sigprocmask(SIG_SETMASK, &waited, &before);

  int error = 0;
  pid_t child = start(argv + first, before, &error);
  if (error) {
    fprintf(stderr, "caisson-init: exec %s failed: %s\n", argv[first], strerror(error));
    if (child < 0) return 1;
  }
  while (true) {
    int status;
    for (pid_t gone; (gone = waitpid(-1, &status, WNOHANG)) > 0;)
      if (gone == child) return code_of(status);
    siginfo_t info;
    int number = sigwaitinfo(&waited, &info);
    if (number > 0 && !is_own(number)) kill(child, number);
  }
}
