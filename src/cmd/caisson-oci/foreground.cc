// SPDX-License-Identifier: Apache-2.0
// The life of a foreground container: terminal, signals, exit status. One poll loop.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "commands.h"
#include "sys/exec_state.h"
#include "sys/files.h"
#include "sys/process.h"

namespace caisson::oci {

namespace {

// Raw mode for as long as the container's own terminal interprets what is typed.
class RawTerminal {
 public:
  RawTerminal() {
    if (tcgetattr(0, &before_) < 0) return;
    active_ = true;
    termios raw = before_;
    cfmakeraw(&raw);
    tcsetattr(0, TCSANOW, &raw);
  }
  ~RawTerminal() {
    if (active_) tcsetattr(0, TCSANOW, &before_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios before_{};
  bool active_ = false;
};

void copy_size(int master) {
  winsize size{};
  if (ioctl(0, TIOCGWINSZ, &size) == 0) ioctl(master, TIOCSWINSZ, &size);
}

// False when nothing will come from `from` any more.
bool copy(int from, int to) {
  char buffer[16384];
  ssize_t got = read(from, buffer, sizeof buffer);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (got <= 0) return false;
  return sys::write_all(to, {buffer, static_cast<size_t>(got)}).has_value();
}

// What is typed while the container does not read waits here, and no more is taken: its output goes on.
class Typed {
 public:
  bool waiting() const { return !bytes_.empty(); }
  // False at the end.
  bool take(int from) {
    char buffer[16384];
    ssize_t got = read(from, buffer, sizeof buffer);
    if (got > 0) bytes_.assign(buffer, static_cast<size_t>(got));
    return got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN));
  }
  void give(int to) {
    ssize_t put = write(to, bytes_.data(), bytes_.size());
    if (put > 0) bytes_.erase(0, static_cast<size_t>(put));
    if (put < 0 && errno != EINTR && errno != EAGAIN) bytes_.clear();
  }

 private:
  std::string bytes_;
};

void drain(int master) {
  pollfd ready{master, POLLIN, 0};
  while (poll(&ready, 1, 0) > 0 && (ready.revents & POLLIN) && copy(master, 1)) {
  }
}

// Everybody who ended except the container's own process, whose status is still wanted.
void collect_orphans(pid_t own) {
  for (;;) {
    siginfo_t info{};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0 || info.si_pid == own) return;
    waitpid(info.si_pid, nullptr, WNOHANG);
  }
}

sigset_t held_signals() {
  sigset_t all;
  sigfillset(&all);
  // Errors of our own keep killing us.
  for (int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) sigdelset(&all, number);
  return all;
}

}  // namespace

void hold_signals() {
  sigset_t all = held_signals();
  sigprocmask(SIG_BLOCK, &all, nullptr);
}

Result<int> stay_in_foreground(runtime::Started& started, bool subreaper) {
  int master = started.console_master.get();
  std::optional<RawTerminal> raw;
  if (master >= 0) {
    raw.emplace();
    copy_size(master);
    if (fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK) < 0) return fail_errno("fcntl");
  }
  sigset_t all = held_signals();
  sigprocmask(SIG_BLOCK, &all, nullptr);
  UniqueFd signals(signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) return fail_errno("signalfd");

  pollfd fds[] = {{started.pidfd.get(), POLLIN, 0}, {signals.get(), POLLIN, 0}, {master, POLLIN, 0}, {-1, POLLIN, 0}};
  Typed typed;
  bool more_typed = master >= 0;
  for (;;) {
    fds[2].events = typed.waiting() ? POLLIN | POLLOUT : POLLIN;
    fds[3].fd = more_typed && !typed.waiting() ? 0 : -1;
    if (poll(fds, 4, -1) < 0) {
      if (errno == EINTR) continue;
      return fail_errno("poll");
    }
    if (fds[1].revents & POLLIN) {
      signalfd_siginfo info;
      while (read(signals.get(), &info, sizeof info) == sizeof info) {
        int number = static_cast<int>(info.ssi_signo);
        if (number == SIGCHLD && subreaper)
          collect_orphans(started.pid);
        else if (number == SIGWINCH && master >= 0)
          copy_size(master);
        else if (number != SIGCHLD && number != SIGPIPE)
          (void)sys::signal_pidfd(started.pidfd.get(), number);
      }
    }
    if (fds[2].revents && !copy(master, 1)) {
      fds[2].fd = -1;
      more_typed = false;
    }
    if (fds[3].fd >= 0 && fds[3].revents) more_typed = typed.take(0);
    if (typed.waiting()) typed.give(master);
    if (fds[0].revents) break;
  }
  if (master >= 0) drain(master);
  sys::Child child{started.pid, std::move(started.pidfd)};
  auto signal = sys::died_before_exec(child);
  int status = TRY(sys::wait_child(child));
  if (signal) return fail(ErrorKind::kInternal, "the container's process died during set-up: signal %d", *signal);
  return status;
}

}  // namespace caisson::oci
