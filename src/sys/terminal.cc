// SPDX-License-Identifier: Apache-2.0
#include "sys/terminal.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <cstring>
#include <utility>

namespace caisson::sys {

bool is_terminal(int fd) { return isatty(fd) == 1; }

TerminalSize terminal_size(int fd) {
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0) return {.rows = 0, .columns = 80};
  return {.rows = size.ws_row, .columns = size.ws_col};
}

struct RawTerminal::State {
  int fd = -1;
  termios found{};
};

RawTerminal::RawTerminal(std::unique_ptr<State> state) : state_(std::move(state)) {}
RawTerminal::RawTerminal(RawTerminal&&) noexcept = default;

RawTerminal::~RawTerminal() {
  if (state_) tcsetattr(state_->fd, TCSADRAIN, &state_->found);
}

Result<RawTerminal> RawTerminal::enter(int fd) {
  auto state = std::make_unique<State>();
  state->fd = fd;
  if (tcgetattr(fd, &state->found) < 0) return fail_errno("tcgetattr");
  termios raw = state->found;
  cfmakeraw(&raw);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  if (tcsetattr(fd, TCSANOW, &raw) < 0) return fail_errno("tcsetattr");
  return RawTerminal(std::move(state));
}

static sigset_t set_of(const std::vector<int>& signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : signals) sigaddset(&set, signal);
  return set;
}

Result<SignalReader> SignalReader::open(const std::vector<int>& signals) {
  sigset_t set = set_of(signals);
  if (int err = pthread_sigmask(SIG_BLOCK, &set, nullptr)) return fail_errno_of(err, "pthread_sigmask");
  UniqueFd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) {
    auto error = fail_errno("signalfd");
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    return error;
  }
  return SignalReader(std::move(fd), signals);
}

SignalReader::SignalReader(SignalReader&& other) noexcept
    : fd_(std::move(other.fd_)), signals_(std::exchange(other.signals_, {})) {}

SignalReader::~SignalReader() {
  if (!fd_) return;
  sigset_t set = set_of(signals_);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

int SignalReader::read() {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof info) != sizeof info) return 0;
  return static_cast<int>(info.ssi_signo);
}

const char* signal_name(int signal) {
  const char* name = sigabbrev_np(signal);
  return name ? name : "";
}

}  // namespace caisson::sys
