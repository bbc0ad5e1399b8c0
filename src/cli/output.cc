// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>

#include "base/text.h"

namespace caisson::cli {

static constexpr size_t kBufferSize = 64 << 10;

bool write_out(int fd, std::string_view data) {
  while (!data.empty()) {
    ssize_t n = ::write(fd, data.data(), data.size());
    if (n >= 0) {
      data.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      // The terminal's file description is shared and another program may have made it non-blocking.
      pollfd wait{.fd = fd, .events = POLLOUT, .revents = 0};
      poll(&wait, 1, -1);
    } else if (errno == EPIPE) {
      return false;
    } else if (errno != EINTR) {
      return true;
    }
  }
  return true;
}

void die_of(int number) {
  signal(number, SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  raise(number);
  _exit(128 + number);
}

void Output::print(std::string_view text) {
  buffer_ += text;
  if (buffer_.size() >= kBufferSize) flush();
}

void Output::line(std::string_view text) {
  buffer_ += text;
  print("\n");
}

void Output::printf(const char* format, ...) {
  va_list args;
  va_start(args, format);
  print(vformat(format, args));
  va_end(args);
}

void Output::flush() {
  if (buffer_.empty()) return;
  if (!write_out(fd_, buffer_)) die_of(SIGPIPE);
  buffer_.clear();
}

Result<> Output::write(std::string_view data) {
  flush();
  if (!write_out(fd_, data)) die_of(SIGPIPE);
  return {};
}

bool Output::is_terminal() const { return isatty(fd_) == 1; }

}  // namespace caisson::cli
