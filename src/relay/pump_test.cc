// SPDX-License-Identifier: Apache-2.0
#include "relay/pump.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include <string>

using namespace caisson;
using namespace caisson::relay;

namespace {

// Two ends of a TCP connection, neither of which blocks.
struct Wire {
  UniqueFd near, far;
  Wire() {
    signal(SIGPIPE, SIG_IGN);  // as in the program: splice has no flag against it
    UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    REQUIRE(bind(listener.get(), reinterpret_cast<sockaddr*>(&at), size) == 0);
    REQUIRE(listen(listener.get(), 1) == 0);
    REQUIRE(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&at), &size) == 0);
    far.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(connect(far.get(), reinterpret_cast<sockaddr*>(&at), size) == 0);
    near.reset(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    fcntl(far.get(), F_SETFL, O_NONBLOCK);
  }
};

// Everything there and back again, with sockets that are full now and then; the number of bytes that arrived right.
size_t carry(PipePool& pool, size_t total) {
  Wire from, to;
  Side source{std::move(from.near)}, sink{std::move(to.near)};
  Pump pump(pool);
  size_t sent = 0, right = 0;
  std::string out(96 << 10, 0), in(32 << 10, 0);
  auto outcome = Pump::Outcome::kWaiting;
  for (int rounds = 0; rounds < 1'000'000 && right < total; ++rounds) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<char>((sent + i) * 31 >> 4);
    size_t part = std::min(out.size(), total - sent);
    if (part > 0)
      if (ssize_t put = send(from.far.get(), out.data(), part, MSG_NOSIGNAL); put > 0) sent += static_cast<size_t>(put);
    if (sent == total) shutdown(from.far.get(), SHUT_WR);
    source.readable = sink.writable = true;
    outcome = pump.run(source, sink);
    if (outcome == Pump::Outcome::kBroken) return 0;
    // A reader that is slower than the writer.
    ssize_t got = recv(to.far.get(), in.data(), in.size(), 0);
    for (ssize_t i = 0; i < got; ++i) {
      if (in[static_cast<size_t>(i)] != static_cast<char>(right * 31 >> 4)) return right;
      ++right;
    }
  }
  for (int rounds = 0; rounds < 1'000'000 && outcome != Pump::Outcome::kFinished; ++rounds) {
    source.readable = sink.writable = true;
    outcome = pump.run(source, sink);
  }
  CHECK(outcome == Pump::Outcome::kFinished);
  return right;
}

}  // namespace

TEST_CASE("relay pump: bytes arrive in order, through pipes and, without any, by copying") {
  constexpr size_t kTotal = 9'000'001;
  PipePool pipes, none(0);
  CHECK(carry(pipes, kTotal) == kTotal);
  CHECK(pipes.lent() == 0);
  CHECK(carry(none, kTotal) == kTotal);
}

TEST_CASE("relay pump: a pipe is lent while a receiver is full, and given back") {
  PipePool pool(1);
  Wire from, to;
  Side source{std::move(from.near)}, sink{std::move(to.near)};
  std::string bytes(1 << 20, 'x');
  {
    Pump pump(pool);
    for (int i = 0; i < 10000 && pool.lent() == 0; ++i) {
      (void)!send(from.far.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      source.readable = sink.writable = true;
      CHECK(pump.run(source, sink) != Pump::Outcome::kBroken);
    }
    CHECK(pool.lent() == 1);
    CHECK_FALSE(pool.take());
    CHECK_FALSE(sink.writable);
  }
  CHECK(pool.lent() == 0);
  CHECK(pool.take());
}

TEST_CASE("relay pump: a receiver that is gone is told") {
  PipePool pool;
  Wire from, to;
  Side source{std::move(from.near)}, sink{std::move(to.near)};
  Pump pump(pool);
  to.far.reset();
  auto outcome = Pump::Outcome::kWaiting;
  for (int i = 0; i < 10000 && outcome != Pump::Outcome::kBroken; ++i) {
    (void)!send(from.far.get(), "x", 1, MSG_NOSIGNAL);
    source.readable = sink.writable = true;
    outcome = pump.run(source, sink);
  }
  CHECK(outcome == Pump::Outcome::kBroken);
}
