// SPDX-License-Identifier: Apache-2.0
#include "monitor/stdio_hub.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <termios.h>

#include <algorithm>

#include "base/clock.h"

namespace caisson::monitor {

namespace {
constexpr size_t kFrameHeader = 8;
// Above this the sources are not read: one more buffer with its header still fits below the bound.
constexpr size_t kHighWater = kClientBound - kIoBuffer - kFrameHeader;
constexpr size_t kDrainLimit = 8 << 20;  // a pipe holds 1 MiB at most, so more comes from a living writer
constexpr int64_t kTerminalRetryNs = 500'000'000;
constexpr size_t kBusyBytes = 4096;
}  // namespace

struct StdioHub::Source : Watch {
  Source(StdioHub& owner, UniqueFd descriptor, logs::StreamId id, bool is_terminal)
      : hub(owner), fd(std::move(descriptor)), stream(id), terminal(is_terminal) {}
  void on_ready(uint32_t events) override { hub.on_source(*this, events); }
  StdioHub& hub;
  UniqueFd fd;
  logs::StreamId stream;
  bool terminal;
  bool quiet = false;  // a terminal that nobody has open; looked at again from time to time
};

struct StdioHub::Input : Watch {
  explicit Input(StdioHub& owner) : hub(owner) {}
  void on_ready(uint32_t events) override { hub.on_input(events); }
  StdioHub& hub;
  UniqueFd fd;
};

struct StdioHub::Client : Watch {
  explicit Client(StdioHub& owner) : hub(owner) {}
  void on_ready(uint32_t events) override { hub.on_client(*this, events); }
  bool wants(logs::StreamId stream) const { return stream == logs::StreamId::kStdout ? want_stdout : want_stderr; }
  StdioHub& hub;
  UniqueFd fd;
  bool want_stdout = false, want_stderr = false;
  DetachKeys keys;
  ByteQueue out;
  int64_t progress_at = 0;    // when the queue last became shorter
  int64_t deadline = kNever;  // of an ending client
  bool input_open = false;
  bool output_open = true;
  bool ending = false;     // gets what is queued, nothing more
  bool lingering = false;  // all written; waits for the peer to close
  bool hung_up = false;
  bool dead = false;
};

StdioHub::StdioHub(Poller& poller, char* buffer, Options options)
    : poller_(poller), buffer_(buffer), options_(options) {}

StdioHub::~StdioHub() {
  for (auto& source : sources_)
    if (source) poller_.remove(*source);
  if (input_) poller_.remove(*input_);
  for (auto& client : clients_) poller_.remove(*client);
}

Result<> StdioHub::start(HubFds fds) {
  auto add = [&](int slot, UniqueFd fd, logs::StreamId stream, bool is_terminal) {
    if (fd) sources_[slot] = std::make_unique<Source>(*this, std::move(fd), stream, is_terminal);
  };
  if (fds.terminal) {
    add(0, std::move(fds.terminal), logs::StreamId::kStdout, true);
  } else {
    add(0, std::move(fds.out), logs::StreamId::kStdout, false);
    add(1, std::move(fds.err), logs::StreamId::kStderr, false);
    if (fds.in) {
      input_ = std::make_unique<Input>(*this);
      input_->fd = std::move(fds.in);
      TRY(poller_.add(*input_, input_->fd.get(), 0));
    }
  }
  settle();
  return {};
}

Result<> StdioHub::add_client(Attachment&& attachment) {
  auto client = std::make_unique<Client>(*this);
  client->fd = std::move(attachment.socket);
  client->want_stdout = attachment.options.want_stdout;
  client->want_stderr = attachment.options.want_stderr;
  client->input_open = attachment.options.want_stdin;
  client->keys = DetachKeys(std::move(attachment.options.detach_keys));
  TRY(poller_.add(*client, client->fd.get(), 0));
  clients_.push_back(std::move(client));
  if (attachment.options.log_after && options_.log) {
    auto replay = [this, &client = *clients_.back()](logs::StreamId stream, std::string_view text) {
      send(client, stream, text);
    };
    // A log that cannot be read leaves a gap; the live output counts more.
    (void)options_.log->replay(*attachment.options.log_after, replay).has_value();
  }
  if (attachment.options.want_stdin) take_input(*clients_.back(), attachment.leftover);
  settle();
  return {};
}

Result<> StdioHub::resize(uint16_t rows, uint16_t columns) {
  if (!terminal() || !sources_[0]->fd) return fail(ErrorKind::kConflict, "the process has no terminal");
  winsize size{};
  size.ws_row = rows;
  size.ws_col = columns;
  if (ioctl(sources_[0]->fd.get(), TIOCSWINSZ, &size) < 0) return fail_errno("ioctl TIOCSWINSZ");
  return {};
}

bool StdioHub::terminal() const { return sources_[0] && sources_[0]->terminal; }

int StdioHub::input_fd() const {
  if (terminal()) return sources_[0]->fd.get();
  return input_ ? input_->fd.get() : -1;
}

bool StdioHub::over_bound(const Client& client) const { return !client.ending && client.out.size() > kHighWater; }

[[gnu::hot]] bool StdioHub::take_busy() { return std::exchange(passed_, 0) > kBusyBytes; }

// ---- from the process to the clients

StdioHub::ReadEnd StdioHub::read_once(Source& source) {
  ssize_t got = read(source.fd.get(), buffer_, kIoBuffer);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return ReadEnd::kEmpty;
  // A terminal's master tells with EIO that nobody has the other side open.
  if (got <= 0) return ReadEnd::kClosed;
  auto size = static_cast<size_t>(got);
  passed_ += size;
  forward(source.stream, {buffer_, size});
  // A full buffer means that more is waiting: the log's batch may grow.
  if (options_.log && size < kIoBuffer) (void)options_.log->flush().has_value();
  return ReadEnd::kData;
}

void StdioHub::close_source(Source& source) {
  poller_.remove(source);
  source.fd.reset();
  if (options_.log) (void)options_.log->flush().has_value();
}

void StdioHub::on_source(Source& source, uint32_t events) {
  if (source.terminal && (events & EPOLLOUT)) flush_input();
  if (events & ~static_cast<uint32_t>(EPOLLOUT)) {
    if (read_once(source) == ReadEnd::kClosed) {
      if (source.terminal && !draining_) {
        // The program may open it again through /dev/tty or /dev/console.
        source.quiet = true;
        terminal_retry_at_ = monotonic_ns() + kTerminalRetryNs;
        input_queue_.clear();
      } else {
        close_source(source);
      }
    }
  }
  settle();
}

void StdioHub::drain() {
  draining_ = true;
  for (auto& source : sources_) {
    if (!source || !source->fd) continue;
    size_t limit = passed_ + kDrainLimit;
    ReadEnd end;
    do {
      end = read_once(*source);
    } while (end == ReadEnd::kData && passed_ < limit);
    if (end == ReadEnd::kClosed) close_source(*source);
    source->quiet = false;
  }
  close_input();
  settle();
}

bool StdioHub::drained() const {
  return std::all_of(std::begin(sources_), std::end(sources_), [](auto& source) { return !source || !source->fd; });
}

void StdioHub::forward(logs::StreamId stream, std::string_view data) {
  // A full disk must not stop the container; what cannot be logged is still shown.
  if (options_.log) (void)options_.log->append(stream, data, now_ns()).has_value();
  for (auto& client : clients_) send(*client, stream, data);
}

void StdioHub::send(Client& client, logs::StreamId stream, std::string_view data) {
  if (client.dead || client.ending || !client.output_open || !client.wants(stream)) return;
  auto size = static_cast<uint32_t>(data.size());
  char header[kFrameHeader] = {static_cast<char>(stream),
                               0,
                               0,
                               0,
                               static_cast<char>(size >> 24),
                               static_cast<char>(size >> 16),
                               static_cast<char>(size >> 8),
                               static_cast<char>(size)};
  std::string_view head(header, terminal() ? 0 : kFrameHeader);
  if (client.out.empty()) {
    iovec parts[2] = {{const_cast<char*>(head.data()), head.size()}, {const_cast<char*>(data.data()), data.size()}};
    msghdr message{};
    message.msg_iov = head.empty() ? parts + 1 : parts;
    message.msg_iovlen = head.empty() ? 1 : 2;
    ssize_t sent = sendmsg(client.fd.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) return lose_output(client);
    auto done = static_cast<size_t>(std::max<ssize_t>(sent, 0));
    size_t of_head = std::min(done, head.size());
    head.remove_prefix(of_head);
    data.remove_prefix(done - of_head);
    client.progress_at = monotonic_ns();
  }
  if (!client.out.append(head) || !client.out.append(data)) client.dead = true;
}

void StdioHub::flush_output(Client& client) {
  while (!client.out.empty()) {
    auto front = client.out.front();
    ssize_t sent = ::send(client.fd.get(), front.data(), front.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS)) return;
    if (sent <= 0) return lose_output(client);
    client.out.consume(static_cast<size_t>(sent));
    client.progress_at = monotonic_ns();
  }
  if (client.ending) shut_client(client);
}

// The client does not read any more. What it has sent before is still input for the container.
void StdioHub::lose_output(Client& client) {
  client.output_open = false;
  client.out.clear();
  if (!client.input_open || client.ending) client.dead = true;
}

// ---- from the clients to the process

void StdioHub::on_client(Client& client, uint32_t events) {
  if (client.lingering) {
    discard_input(client);
  } else {
    if (events & EPOLLERR) lose_output(client);
    if ((events & EPOLLOUT) && !client.dead) flush_output(client);
    if ((events & (EPOLLIN | EPOLLERR)) && client.input_open && input_queue_.empty() && !client.dead)
      read_input(client);
    if (events & EPOLLHUP) {
      client.hung_up = true;
      if (!client.input_open) client.dead = true;
    }
  }
  settle();
}

void StdioHub::read_input(Client& client) {
  ssize_t got = recv(client.fd.get(), buffer_, kIoBuffer, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    if (got < 0) lose_output(client);
    return input_ended(client);
  }
  passed_ += static_cast<size_t>(got);
  take_input(client, {buffer_, static_cast<size_t>(got)});
}

void StdioHub::take_input(Client& client, std::string_view data) {
  // DOCKER-QUIRK: without a terminal the detach keys are ordinary bytes.
  if (!terminal() || !client.keys.enabled()) return feed(data);
  std::string typed;
  bool detached = client.keys.feed(data, typed);
  feed(typed);
  if (!detached) return;
  ++detached_;
  finish_client(client);
}

void StdioHub::input_ended(Client& client) {
  if (!client.input_open) return;
  client.input_open = false;
  feed(client.keys.held_back());
  bool closes = options_.close_stdin && !terminal();
  if (closes) {
    input_closing_ = true;
    if (input_queue_.empty()) close_input();
  }
  if (!client.output_open) {
    client.dead = true;
  } else if (!closes && input_fd() >= 0) {
    // DOCKER-QUIRK: input that ends without closing the container's stdin ends the whole attachment, so
    // that `echo command | docker attach CONTAINER` returns.
    finish_client(client);
  }
}

void StdioHub::feed(std::string_view data) {
  int fd = input_fd();
  if (fd < 0 || draining_) return;
  if (input_queue_.empty() && !data.empty()) {
    ssize_t put = write(fd, data.data(), data.size());
    if (put < 0 && errno != EAGAIN && errno != EINTR) {
      if (!terminal()) close_input();
      return;
    }
    data.remove_prefix(static_cast<size_t>(std::max<ssize_t>(put, 0)));
  }
  if (!input_queue_.append(data)) close_input();
}

void StdioHub::flush_input() {
  while (!input_queue_.empty()) {
    auto front = input_queue_.front();
    ssize_t put = write(input_fd(), front.data(), front.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN) return;
    if (put <= 0) {
      input_queue_.clear();
      if (!terminal()) close_input();
      return;
    }
    input_queue_.consume(static_cast<size_t>(put));
  }
  if (input_closing_) close_input();
}

void StdioHub::on_input(uint32_t events) {
  // EPOLLERR: the program has closed its stdin.
  if (events & EPOLLERR)
    close_input();
  else if (events & EPOLLOUT)
    flush_input();
  settle();
}

void StdioHub::close_input() {
  input_queue_.clear();
  if (!input_ || !input_->fd) return;
  poller_.remove(*input_);
  input_->fd.reset();
}

// ---- end of clients

void StdioHub::finish_client(Client& client) {
  if (client.ending || client.dead) return;
  client.ending = true;
  client.input_open = false;
  client.deadline = monotonic_ns() + kCloseLimitNs;
  if (!client.output_open)
    client.dead = true;
  else if (client.out.empty())
    shut_client(client);
}

// Closing a socket with unread input would reset it, and the peer might lose the end of the output.
void StdioHub::shut_client(Client& client) {
  int domain = 0;
  socklen_t size = sizeof domain;
  getsockopt(client.fd.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size);
  if (domain != AF_UNIX) {
    shutdown(client.fd.get(), SHUT_WR);
    client.lingering = true;
    return;
  }
  // From here the peer cannot send, so the queue that is emptied stays empty.
  shutdown(client.fd.get(), SHUT_RDWR);
  while (recv(client.fd.get(), buffer_, kIoBuffer, MSG_DONTWAIT) > 0) {
  }
  client.dead = true;
}

void StdioHub::discard_input(Client& client) {
  ssize_t got = recv(client.fd.get(), buffer_, kIoBuffer, MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) client.dead = true;
}

void StdioHub::close_clients() {
  for (auto& client : clients_) finish_client(*client);
  settle();
}

// ---- clocks and interest

[[gnu::hot]] int64_t StdioHub::next_deadline() const {
  int64_t next = terminal_retry_at_;
  for (auto& client : clients_) {
    next = std::min(next, client->deadline);
    if (over_bound(*client)) next = std::min(next, client->progress_at + kStallLimitNs);
  }
  return next;
}

[[gnu::hot]] void StdioHub::on_time(int64_t now) {
  if (terminal_retry_at_ <= now) {
    terminal_retry_at_ = kNever;
    if (sources_[0]) sources_[0]->quiet = false;
  }
  for (auto& client : clients_)
    if (client->deadline <= now || (over_bound(*client) && client->progress_at + kStallLimitNs <= now))
      client->dead = true;
  settle();
}

void StdioHub::settle() {
  for (size_t i = 0; i < clients_.size();) {
    Client& client = *clients_[i];
    if (!client.dead) {
      ++i;
      continue;
    }
    // A client that vanished has ended its input too.
    if (client.input_open && options_.close_stdin && !terminal()) {
      input_closing_ = true;
      if (input_queue_.empty()) close_input();
    }
    poller_.remove(client);
    clients_.erase(clients_.begin() + static_cast<ptrdiff_t>(i));
  }
  bool paused = !draining_ && std::any_of(clients_.begin(), clients_.end(), [&](auto& c) { return over_bound(*c); });
  paused = paused || (!draining_ && options_.log && options_.log->full());

  // A hung-up descriptor is reported whatever is asked for, so one that cannot be served now is taken out.
  auto set = [this](Watch& watch, int fd, uint32_t events, bool keep) {
    if (events == 0 && !keep)
      poller_.remove(watch);
    else if (poller_.has(watch))
      poller_.change(watch, events);
    else
      (void)poller_.add(watch, fd, events).has_value();
  };
  for (auto& source : sources_) {
    if (!source || !source->fd) continue;
    uint32_t events = paused || source->quiet ? 0u : static_cast<uint32_t>(EPOLLIN);
    if (source->terminal && !input_queue_.empty() && !source->quiet) events |= EPOLLOUT;
    set(*source, source->fd.get(), events, false);
  }
  if (input_ && input_->fd) poller_.change(*input_, input_queue_.empty() ? 0u : static_cast<uint32_t>(EPOLLOUT));
  for (auto& client : clients_) {
    uint32_t events = 0;
    if ((client->input_open && input_queue_.empty()) || client->lingering) events |= EPOLLIN;
    if (!client->out.empty()) events |= EPOLLOUT;
    set(*client, client->fd.get(), events, !client->hung_up);
  }
}

}  // namespace caisson::monitor
