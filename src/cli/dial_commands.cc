// SPDX-License-Identifier: Apache-2.0
// `system dial-stdio`: standard input and output are a connection to the engine. Clients run it through ssh.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "cli/command.h"

namespace caisson::cli {

namespace {

constexpr size_t kReadSize = 64 << 10;
// A pipe that can be written takes this much without waiting.
constexpr size_t kPipePiece = 4096;

// What was read on one side and not yet written on the other.
struct Lane {
  std::string data;
  size_t sent = 0;
  bool open = true;

  bool empty() const { return sent == data.size(); }
  std::string_view left() const { return std::string_view(data).substr(sent); }
  void fill(int fd) {
    data.resize(kReadSize);
    sent = 0;
    ssize_t n = read(fd, data.data(), data.size());
    data.resize(n > 0 ? static_cast<size_t>(n) : 0);
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) open = false;
  }
};

Result<> join_streams(int socket) {
  Lane up, down;
  bool write_closed = false;
  while (down.open || !down.empty()) {
    if (!up.open && up.empty() && !write_closed) {
      shutdown(socket, SHUT_WR);
      write_closed = true;
    }
    short wanted = static_cast<short>((down.open && down.empty() ? POLLIN : 0) | (up.empty() ? 0 : POLLOUT));
    pollfd waits[3] = {{.fd = up.open && up.empty() ? 0 : -1, .events = POLLIN, .revents = 0},
                       {.fd = wanted ? socket : -1, .events = wanted, .revents = 0},
                       {.fd = 1, .events = static_cast<short>(down.empty() ? 0 : POLLOUT), .revents = 0}};
    if (poll(waits, 3, -1) < 0) {
      if (errno == EINTR) continue;
      return fail_errno("poll");
    }
    // Whoever asked has gone; an engine that streams would not notice for long.
    if (waits[2].revents & (POLLERR | POLLHUP | POLLNVAL)) return {};
    if (waits[0].revents) up.fill(0);
    if (waits[1].revents & POLLOUT) {
      ssize_t n = send(socket, up.left().data(), up.left().size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) up.sent += static_cast<size_t>(n);
      // The engine takes no more; what it says is still of interest.
      if (n < 0 && errno != EAGAIN && errno != EINTR) up = {.open = false};
    }
    if (waits[1].revents & (POLLIN | POLLHUP | POLLERR) && down.open && down.empty()) down.fill(socket);
    if (waits[2].revents & POLLOUT) {
      ssize_t n = write(1, down.left().data(), std::min(down.left().size(), kPipePiece));
      if (n > 0) down.sent += static_cast<size_t>(n);
      if (n < 0 && errno != EAGAIN && errno != EINTR) return {};
    }
  }
  return {};
}

Result<int> dial_stdio(App& app, const Invocation&) {
  auto transport = TRY(app.engine().dial());
  UniqueFd socket = transport->release();
  if (!socket)
    return fail(ErrorKind::kUnsupported, "dial-stdio reaches engines by unix sockets and unencrypted tcp, not by %s",
                app.engine().host_text().c_str());
  TRY(join_streams(socket.get()));
  return 0;
}

}  // namespace

std::span<const Command> dial_commands() {
  static constexpr Command kCommands[] = {
      {.names = "system dial-stdio",
       .usage = "",
       .summary = "Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
       .function = dial_stdio,
       .hidden = true},
  };
  return kCommands;
}

}  // namespace caisson::cli
