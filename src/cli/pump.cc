// SPDX-License-Identifier: Apache-2.0
#include "cli/pump.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/detach_keys.h"
#include "cli/stdcopy.h"

namespace caisson::cli {

static constexpr size_t kReadSize = 64 << 10;

Result<> Pump::prepare() {
  std::vector<int> wanted;
  if (options_.on_signal) {
    // Everything that can be caught, except what is about ourselves.
    for (int signal = 1; signal < 32; ++signal)
      if (signal != SIGKILL && signal != SIGSTOP && signal != SIGCHLD && signal != SIGPIPE && signal != SIGURG &&
          signal != SIGSEGV && signal != SIGBUS && signal != SIGFPE && signal != SIGILL && signal != SIGABRT &&
          signal != SIGTRAP && signal != SIGSYS && signal != SIGTTIN && signal != SIGTTOU && signal != SIGWINCH)
        wanted.push_back(signal);
  } else if (options_.tty) {
    // Not passed on, but the terminal must be restored before they end us.
    wanted = {SIGTERM, SIGHUP, SIGINT, SIGQUIT};
  }
  if (options_.tty && options_.on_resize) wanted.push_back(SIGWINCH);
  if (!wanted.empty()) signals_.emplace(TRY(sys::SignalReader::open(wanted)));
  if (options_.tty && options_.send_stdin && sys::is_terminal(0)) raw_.emplace(TRY(sys::RawTerminal::enter(0)));
  return {};
}

void Pump::handle_signals() {
  if (!signals_) return;
  while (int signal = signals_->read()) {
    if (signal == SIGWINCH) {
      if (options_.on_resize) options_.on_resize(sys::terminal_size(1));
    } else if (options_.on_signal) {
      options_.on_signal(signal);
    } else {
      ended_by_ = signal;
    }
  }
}

bool Pump::wait_readable(int fd) {
  while (true) {
    handle_signals();
    if (ended_by_) return false;
    pollfd waits[2] = {{.fd = fd, .events = POLLIN, .revents = 0},
                       {.fd = signals_ ? signals_->fd() : -1, .events = POLLIN, .revents = 0}};
    if (poll(waits, 2, -1) > 0 && waits[0].revents) return true;
  }
}

namespace {

// What was read from standard input and not yet taken by the engine.
struct Pending {
  std::string data;
  size_t sent = 0;
  bool input_open = false, write_closed = false;

  bool empty() const { return sent == data.size(); }
};

// False when the engine does not take input any more.
bool send_pending(int socket, Pending& pending) {
  while (!pending.empty()) {
    ssize_t n = send(socket, pending.data.data() + pending.sent, pending.data.size() - pending.sent,
                     MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    pending.sent += static_cast<size_t>(n);
  }
  pending.data.clear();
  pending.sent = 0;
  return true;
}

}  // namespace

Result<PumpResult> Pump::run(http::Client::Hijacked connection) {
  // A reader that went away ends us by SIGPIPE, but not before the terminal is restored.
  auto put = [&](int fd, std::string_view data) {
    if (!write_out(fd, data)) ended_by_ = SIGPIPE;
  };
  FrameReader frames([&](int stream, std::string_view data) {
    if (stream == 2 ? options_.want_stderr : options_.want_stdout) put(stream == 2 ? 2 : 1, data);
  });
  auto show = [&](std::string_view data) -> Result<> {
    if (!options_.tty) return frames.feed(data);
    if (options_.want_stdout) put(1, data);
    return {};
  };
  DetachDetector detach(options_.detach_keys);
  bool watch_keys = options_.tty && options_.send_stdin && !options_.detach_keys.empty();
  app_.out.flush();
  TRY(show(connection.leftover));
  int socket = connection.fd.get();
  Pending pending{.input_open = options_.send_stdin};
  std::string buffer(kReadSize, '\0');
  while (true) {
    handle_signals();
    if (ended_by_) return PumpResult{PumpEnd::kTerminated, ended_by_};
    if (!pending.input_open && pending.empty() && options_.send_stdin && !pending.write_closed) {
      pending.write_closed = true;
      shutdown(socket, SHUT_WR);
      if (options_.stdin_once_done) return PumpResult{};
    }
    pollfd waits[3] = {{.fd = socket, .events = POLLIN, .revents = 0},
                       {.fd = signals_ ? signals_->fd() : -1, .events = POLLIN, .revents = 0},
                       {.fd = pending.input_open && pending.empty() ? 0 : -1, .events = POLLIN, .revents = 0}};
    if (!pending.empty()) waits[0].events |= POLLOUT;
    if (poll(waits, 3, -1) < 0) {
      if (errno == EINTR) continue;
      return fail_errno("poll");
    }
    if (waits[0].revents & POLLOUT) {
      if (!send_pending(socket, pending)) {
        pending.data.clear();
        pending.sent = 0;
        pending.input_open = false;
      }
    }
    if (waits[0].revents & (POLLIN | POLLHUP | POLLERR)) {
      ssize_t n = read(socket, buffer.data(), buffer.size());
      if (n == 0 || (n < 0 && errno == ECONNRESET)) return PumpResult{};
      if (n < 0 && errno != EINTR && errno != EAGAIN) return fail_errno("read from the engine");
      if (n > 0) TRY(show({buffer.data(), static_cast<size_t>(n)}));
    }
    if (waits[2].revents & (POLLIN | POLLHUP | POLLERR | POLLNVAL)) {
      pending.data.resize(kReadSize);
      ssize_t n = read(0, pending.data.data(), kReadSize);
      pending.data.resize(n > 0 ? static_cast<size_t>(n) : 0);
      pending.sent = 0;
      if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) pending.input_open = false;
      bool left = n > 0 && watch_keys && detach.feed(pending.data);
      if (n > 0 && !send_pending(socket, pending)) {
        pending.data.clear();
        pending.input_open = false;
      }
      if (left) return PumpResult{PumpEnd::kDetached, 0};
    }
  }
}

}  // namespace caisson::cli
