// SPDX-License-Identifier: Apache-2.0
#include "monitor/stdio_hub.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pty.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "sys/files.h"
#include "sys/unix_socket.h"

using namespace caisson;
using namespace caisson::monitor;

namespace {

// A hub whose process is the test itself.
struct Bench {
  Poller poller;
  std::vector<char> buffer = std::vector<char>(kIoBuffer);
  std::unique_ptr<StdioHub> hub;
  UniqueFd in, out, err;  // the process's ends

  explicit Bench(StdioHub::Options options = {}) {
    REQUIRE(poller.init());
    hub = std::make_unique<StdioHub>(poller, buffer.data(), options);
    HubFds fds;
    make(in, fds.in, true);
    make(out, fds.out, false);
    make(err, fds.err, false);
    REQUIRE(hub->start(std::move(fds)));
  }
  static void make(UniqueFd& theirs, UniqueFd& ours, bool input) {
    int fds[2];
    REQUIRE(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
    theirs.reset(fds[input ? 0 : 1]);
    ours.reset(fds[input ? 1 : 0]);
  }
  UniqueFd attach(AttachOptions options, std::string leftover = {}) {
    auto pair = *sys::socket_pair(SOCK_STREAM);
    REQUIRE(sys::set_nonblocking(pair.first.get(), true));
    REQUIRE(hub->add_client({std::move(pair.second), std::move(leftover), options}));
    return std::move(pair.first);
  }
  // Until nothing is left to do; a loop that never rests fails.
  void settle() {
    int steps = 0;
    while (poller.step(0)) REQUIRE(++steps < 10000);
  }
};

constexpr AttachOptions kAll{true, true, true, {}};
constexpr AttachOptions kOutput{false, true, true, {}};

std::string drain_fd(int fd, bool* end = nullptr) {
  std::string all;
  char part[65536];
  ssize_t got;
  while ((got = read(fd, part, sizeof part)) > 0) all.append(part, static_cast<size_t>(got));
  if (end) *end = got == 0;
  return all;
}

bool at_end(int fd) {
  bool end = false;
  drain_fd(fd, &end);
  return end;
}

void put(int fd, std::string_view text) {
  REQUIRE(write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

std::string frame(char stream, std::string_view text) {
  std::string out{stream, 0, 0, 0, 0, 0, static_cast<char>(text.size() >> 8), static_cast<char>(text.size())};
  return out + std::string(text);
}

}  // namespace

TEST_CASE("each client gets the streams it asked for, framed") {
  Bench bench;
  auto both = bench.attach(kOutput), errors = bench.attach({false, false, true, {}});
  put(bench.out.get(), "one");
  bench.settle();
  put(bench.err.get(), std::string(300, 'e'));
  bench.settle();
  CHECK(drain_fd(both.get()) == frame(1, "one") + frame(2, std::string(300, 'e')));
  CHECK(drain_fd(errors.get()) == frame(2, std::string(300, 'e')));
}

TEST_CASE("input reaches the process, leftover first, and the end closes it only if told so") {
  for (bool closes : {false, true}) {
    Bench bench({.close_stdin = closes});
    auto client = bench.attach(kAll, "left ");
    put(client.get(), "typed");
    bench.settle();
    bool end = false;
    CHECK(drain_fd(bench.in.get(), &end) == "left typed");
    CHECK_FALSE(end);
    shutdown(client.get(), SHUT_WR);
    bench.settle();
    CHECK(at_end(bench.in.get()) == closes);
    put(bench.out.get(), "later");
    bench.settle();
    bool client_end = false;
    std::string got = drain_fd(client.get(), &client_end);
    CHECK(got == (closes ? frame(1, "later") : ""));
    CHECK(client_end == !closes);
  }
}

TEST_CASE("a half-closed client without input keeps its output") {
  Bench bench({.close_stdin = true});
  auto client = bench.attach(kOutput);
  shutdown(client.get(), SHUT_WR);
  bench.settle();
  put(bench.out.get(), "still");
  bench.settle();
  CHECK(drain_fd(client.get()) == frame(1, "still"));
  CHECK_FALSE(at_end(bench.in.get()));
}

TEST_CASE("a client that vanishes takes nothing with it") {
  Bench bench({.close_stdin = true});
  auto stays = bench.attach(kOutput);
  auto leaves = bench.attach(kAll);
  put(leaves.get(), "last words");
  leaves.reset();
  put(bench.out.get(), "x");
  bench.settle();
  bool end = false;
  CHECK(drain_fd(bench.in.get(), &end) == "last words");
  CHECK(end);
  CHECK(drain_fd(stays.get()) == frame(1, "x"));
}

TEST_CASE("input beyond the pipe waits without a busy loop and is not lost") {
  Bench bench({.close_stdin = true});
  auto client = bench.attach(kAll);
  std::string sent, got;
  for (int round = 0; round < 400; ++round) {
    std::string part(5000, static_cast<char>('a' + round % 26));
    ssize_t put_now = send(client.get(), part.data(), part.size(), MSG_DONTWAIT);
    if (put_now > 0) sent += part.substr(0, static_cast<size_t>(put_now));
    bench.settle();
    if (round % 7 == 0) got += drain_fd(bench.in.get());
  }
  client.reset();  // hung up while its input is still queued
  bool end = false;
  for (int i = 0; i < 100 && !end; ++i) {
    bench.settle();
    got += drain_fd(bench.in.get(), &end);
  }
  CHECK(end);
  CHECK(sent.size() > 300000);
  CHECK(got == sent);
}

TEST_CASE("a process that closes its stdin does not disturb") {
  Bench bench;
  auto client = bench.attach(kAll);
  bench.in.reset();
  bench.settle();
  put(client.get(), "into the void");
  put(bench.out.get(), "fine");
  bench.settle();
  CHECK(drain_fd(client.get()) == frame(1, "fine"));
}

TEST_CASE("a slow client stops the source at its bound and is dropped after the grace time") {
  Bench bench;
  auto slow = bench.attach(kOutput);
  std::string chunk(32768, 's');
  size_t sent = 0;
  while (sent < 20 << 20) {
    ssize_t got = write(bench.out.get(), chunk.data(), chunk.size());
    if (got <= 0) break;  // the pipe is full: the hub has stopped reading
    sent += static_cast<size_t>(got);
    bench.settle();
  }
  CHECK(sent > kClientBound / 2);
  CHECK(sent < 2 * kClientBound);
  int64_t deadline = bench.hub->next_deadline();
  REQUIRE(deadline != kNever);
  CHECK(deadline > monotonic_ns() + kStallLimitNs / 2);
  SUBCASE("reading makes room again and nothing is lost") {
    std::string got;
    bench.out.reset();
    bench.err.reset();
    for (int i = 0; i < 200; ++i) {
      got += drain_fd(slow.get());
      bench.settle();
    }
    CHECK(bench.hub->drained());
    size_t text = 0;
    for (size_t at = 0; at + 8 <= got.size();) {
      auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(got[at + i])); };
      size_t size = byte(4) << 24 | byte(5) << 16 | byte(6) << 8 | byte(7);
      text += size;
      at += 8 + size;
    }
    CHECK(text == sent);
    CHECK(bench.hub->next_deadline() == kNever);
  }
  SUBCASE("after the grace time") {
    bench.hub->on_time(deadline - 1);
    CHECK_FALSE(bench.hub->clients_gone());
    bench.hub->on_time(deadline);
    CHECK(bench.hub->clients_gone());
    bench.settle();
    CHECK(write(bench.out.get(), chunk.data(), chunk.size()) > 0);
  }
}

TEST_CASE("the end: everything in the pipes is delivered, then clients are closed") {
  Bench bench;
  auto client = bench.attach(kAll);
  put(client.get(), "unread input must not reset the connection");
  put(bench.out.get(), "tail");
  put(bench.err.get(), "trouble");
  bench.hub->drain();
  CHECK_FALSE(bench.hub->drained());  // the test still holds the ends
  bench.out.reset();
  bench.err.reset();
  bench.settle();
  CHECK(bench.hub->drained());
  bench.hub->close_clients();
  CHECK(bench.hub->clients_gone());
  bool end = false;
  CHECK(drain_fd(client.get(), &end) == frame(1, "tail") + frame(2, "trouble"));
  CHECK(end);
}

TEST_CASE("the end with a client that does not read: bounded time") {
  Bench bench;
  auto client = bench.attach(kOutput);
  std::string chunk(60000, 'c');
  for (int i = 0; i < 10; ++i) {
    put(bench.out.get(), chunk);
    bench.settle();
  }
  bench.hub->drain();
  bench.hub->close_clients();
  CHECK_FALSE(bench.hub->clients_gone());
  int64_t deadline = bench.hub->next_deadline();
  CHECK(deadline <= monotonic_ns() + kCloseLimitNs);
  bench.hub->on_time(deadline);
  CHECK(bench.hub->clients_gone());
}

TEST_CASE("tcp clients are closed after they have seen the end") {
  UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(listen(listener.get(), 1) == 0);
  REQUIRE(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(connect(client.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  Bench bench;
  REQUIRE(bench.hub->add_client({UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)), {}, kAll}));
  put(client.get(), "unread");
  put(bench.out.get(), "tail");
  bench.out.reset();
  bench.err.reset();
  bench.hub->drain();
  bench.hub->close_clients();
  CHECK(drain_fd(client.get()) == frame(1, "tail"));
  bench.settle();
  CHECK_FALSE(bench.hub->clients_gone());
  client.reset();
  bench.settle();
  CHECK(bench.hub->clients_gone());
}

TEST_CASE("terminal: raw both ways, size, detach keys over several reads") {
  Poller poller;
  REQUIRE(poller.init());
  std::vector<char> buffer(kIoBuffer);
  StdioHub hub(poller, buffer.data(), {.close_stdin = true});
  int master, slave;
  REQUIRE(openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
  UniqueFd other(slave);
  REQUIRE(sys::set_nonblocking(master, true));
  REQUIRE(sys::set_nonblocking(slave, true));
  HubFds fds;
  fds.terminal.reset(master);
  REQUIRE(hub.start(std::move(fds)));
  auto settle = [&] {
    int steps = 0;
    while (poller.step(0)) REQUIRE(++steps < 10000);
  };
  auto pair = *sys::socket_pair(SOCK_STREAM);
  REQUIRE(sys::set_nonblocking(pair.first.get(), true));
  REQUIRE(hub.add_client({std::move(pair.second), {}, {true, true, false, "\x10\x11"}}));
  // The kernel passes terminal data on in the background.
  auto expect = [&](int fd, const std::string& wanted) {
    std::string got;
    for (int i = 0; i < 100 && got.size() < wanted.size(); ++i) {
      poller.step(20);
      got += drain_fd(fd);
    }
    CHECK(got == wanted);
  };
  put(slave, "hi\n");
  expect(pair.first.get(), "hi\r\n");
  put(pair.first.get(),
      "a\x10"
      "b\n");
  expect(slave,
         "a\x10"
         "b\n");
  REQUIRE(hub.resize(7, 9));
  winsize size{};
  ioctl(slave, TIOCGWINSZ, &size);
  CHECK(size.ws_row == 7);
  CHECK(size.ws_col == 9);
  put(pair.first.get(), "\x10");
  settle();
  CHECK_FALSE(hub.clients_gone());
  put(pair.first.get(), "\x11");
  settle();
  CHECK(hub.clients_gone());
  // Nobody has the other side: no busy loop, and a later look finds it open again.
  other.reset();
  settle();
  CHECK(hub.next_deadline() != kNever);
  hub.on_time(hub.next_deadline());
  settle();
}

TEST_CASE("detach keys") {
  auto run = [](std::string keys, std::vector<std::string> reads, bool* found) {
    DetachKeys matcher(std::move(keys));
    std::string out;
    *found = false;
    for (auto& read : reads) {
      *found = matcher.feed(read, out);
      if (*found) return out;
    }
    out += matcher.held_back();
    return out;
  };
  bool found;
  CHECK(run("\x10\x11", {"ab\x10\x11zz"}, &found) == "ab");
  CHECK(found);
  CHECK(run("\x10\x11", {"\x10", "\x11"}, &found).empty());
  CHECK(found);
  CHECK(run("\x10\x11", {"\x10", "\x10", "\x11"}, &found) == "\x10");
  CHECK(found);
  CHECK(run("\x10\x11", {"\x10", "x", "\x10"}, &found) == "\x10x\x10");
  CHECK_FALSE(found);
  CHECK(run("aab", {"aaab"}, &found) == "a");
  CHECK(found);
  CHECK(run("abab", {"ababx"}, &found).empty());
  CHECK(run("ababc", {"abababc"}, &found) == "ab");
  CHECK(found);
  CHECK(run("", {"anything"}, &found) == "anything");
  CHECK_FALSE(found);
}

TEST_CASE("byte queue keeps order over wrap-around and growth and gives its memory back") {
  ByteQueue queue;
  std::string expected;
  unsigned value = 1;
  for (int round = 0; round < 3000; ++round) {
    value = value * 1103515245 + 12345;
    std::string part((value >> 16) % 3000, static_cast<char>(round));
    REQUIRE(queue.append(part));
    expected += part;
    size_t take = std::min((value >> 8) % 3100 + 0uz, queue.size());
    while (take > 0) {
      auto front = queue.front().substr(0, take);
      REQUIRE(expected.starts_with(front));
      expected.erase(0, front.size());
      take -= front.size();
      queue.consume(front.size());
    }
    REQUIRE(queue.size() == expected.size());
  }
  queue.clear();
  CHECK(queue.empty());
  CHECK(queue.capacity() == 0);
}
