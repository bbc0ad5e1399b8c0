// SPDX-License-Identifier: Apache-2.0
// The service with real sockets on loopback; where clients were headed is told by the test, not by the kernel.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <atomic>
#include <future>
#include <thread>

#include "base/clock.h"
#include "relay/service.h"

using namespace caisson;
using namespace caisson::relay;

namespace {

constexpr int kPatienceMs = 30000;  // what a loaded machine may take; a good run waits for nothing
constexpr const char* kContainer = "::ffff:127.0.0.1";

struct FakeClock : Clock {
  std::atomic<int64_t> now = 1'000'000'000'000;
  int64_t monotonic_ns() override { return now; }
};

uint16_t port_of(int fd) {
  sockaddr_in6 at{};
  socklen_t size = sizeof at;
  REQUIRE(getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) == 0);
  return ntohs(at.sin6_port);  // at the same place for both families
}

UniqueFd bound(int type, const char* address) {
  auto at = socket_address({*parse_address(address), 0});
  UniqueFd fd(socket(at.storage.ss_family, type | SOCK_CLOEXEC, 0));
  REQUIRE(bind(fd.get(), at.get(), at.size) == 0);
  timeval patience{kPatienceMs / 1000, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (type == SOCK_STREAM) REQUIRE(listen(fd.get(), 16) == 0);
  return fd;
}

UniqueFd connected(int type, const char* address, uint16_t port) {
  auto at = socket_address({*parse_address(address), port});
  UniqueFd fd(socket(at.storage.ss_family, type | SOCK_CLOEXEC, 0));
  timeval patience{kPatienceMs / 1000, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  REQUIRE(connect(fd.get(), at.get(), at.size) == 0);
  return fd;
}

UniqueFd accepted(int listener) {
  UniqueFd fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));  // waits as long as SO_RCVTIMEO
  REQUIRE(fd);
  timeval patience{kPatienceMs / 1000, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return fd;
}

std::string received(int fd, size_t size = 64) {
  std::string out(size, 0);
  ssize_t got = recv(fd, out.data(), out.size(), 0);
  if (got < 0) return errno == ECONNRESET ? "reset" : errno == EAGAIN ? "silence" : "error";
  out.resize(static_cast<size_t>(got));
  return out;
}

void say(int fd, std::string_view text) {
  CHECK(send(fd, text.data(), text.size(), MSG_NOSIGNAL) == ssize_t(text.size()));
}

struct Bed {
  FakeClock clock;
  std::unique_ptr<sys::EventLoop> loop;
  std::atomic<uint16_t> meant = 80;  // the host port that connections to the listener were headed to
  std::unique_ptr<Service> service;
  UniqueFd container = bound(SOCK_STREAM, kContainer);
  uint16_t port = 0;
  std::thread thread;

  explicit Bed(TcpLimits tcp = {}, UdpLimits udp = {}) {
    signal(SIGPIPE, SIG_IGN);  // as in the program: splice has no flag against it
    auto made = sys::EventLoop::create();
    REQUIRE(made);
    loop = std::move(*made);
    auto original = [this](int) { return std::optional<Endpoint>({*parse_address("::1"), meant}); };
    service = std::make_unique<Service>(*loop, clock, ServiceOptions{tcp, udp, original});
    thread = std::thread([this] { loop->run(); });
    std::vector<UniqueFd> fds;
    fds.push_back(bound(SOCK_STREAM, "::1"));
    port = port_of(fds[0].get());
    CHECK(tell({.type = "hello"}, std::move(fds)).ok);
    CHECK(tell({.type = "sync"}).ok);
  }
  ~Bed() {
    loop->stop();
    thread.join();
  }
  static bool skipped() {
    auto at = socket_address({*parse_address("::1"), 0});
    UniqueFd fd(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (fd && bind(fd.get(), at.get(), at.size) == 0) return false;
    MESSAGE("SKIPPED: no IPv6 on loopback");
    return true;
  }

  template <class F>
  auto on_loop(F work) {
    std::promise<decltype(work())> done;
    loop->post([&] { done.set_value(work()); });
    return done.get_future().get();
  }
  ControlAnswer tell(const ControlRequest& request, std::vector<UniqueFd> fds = {}) {
    return on_loop([&] {
      std::vector<int> answer_fds;
      return service->apply(request, fds, answer_fds);
    });
  }
  ControlRequest entry(uint16_t host_port, uint16_t container_port, const char* protocol = "tcp") {
    ControlRequest request{.type = "add", .protocol = protocol, .host = "::", .container = kContainer};
    request.port = host_port;
    request.container_port = container_port;
    return request;
  }
  void publish(uint16_t host_port) { CHECK(tell(entry(host_port, port_of(container.get()))).ok); }
  // The reset may come before connect() has returned.
  bool turns_away() const {
    auto at = socket_address({*parse_address("::1"), port});
    UniqueFd fd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    timeval patience{kPatienceMs / 1000, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd.get(), at.get(), at.size) < 0) return errno == ECONNRESET;
    return received(fd.get()) == "reset";
  }
  UniqueFd client() { return connected(SOCK_STREAM, "::1", port); }
  size_t connections() {
    return on_loop([&] { return service->tcp().connections(); });
  }
  bool ends_with_connections(size_t count) {
    for (int64_t end = monotonic_ns() + kPatienceMs * 1'000'000LL; monotonic_ns() < end; usleep(2000))
      if (connections() == count) return true;
    return false;
  }
};

}  // namespace

TEST_CASE("relay: bytes go both ways, and the end of each way is passed on by itself") {
  if (Bed::skipped()) return;
  Bed bed;
  bed.publish(80);
  auto client = bed.client();
  auto server = accepted(bed.container.get());
  say(client.get(), "ping");
  CHECK(received(server.get()) == "ping");
  say(server.get(), "pong");
  CHECK(received(client.get()) == "pong");
  shutdown(client.get(), SHUT_WR);
  CHECK(received(server.get()) == "");
  say(server.get(), "more");
  CHECK(received(client.get()) == "more");
  CHECK(bed.connections() == 1);
  shutdown(server.get(), SHUT_WR);
  CHECK(received(client.get()) == "");
  CHECK(bed.ends_with_connections(0));
}

TEST_CASE("relay: much at once arrives whole, also past a reader that takes its time") {
  if (Bed::skipped()) return;
  Bed bed;
  bed.publish(80);
  auto client = bed.client();
  auto server = accepted(bed.container.get());
  constexpr size_t kTotal = 24 << 20;
  std::string sent(kTotal, 0);
  for (size_t i = 0; i < kTotal; ++i) sent[i] = static_cast<char>(i * 2654435761u >> 13);
  std::atomic<bool> all_sent = false;
  std::thread writer([&] {
    size_t done = 0;
    while (done < kTotal) {
      ssize_t put = send(client.get(), sent.data() + done, kTotal - done, MSG_NOSIGNAL);
      if (put <= 0) break;
      done += static_cast<size_t>(put);
    }
    shutdown(client.get(), SHUT_WR);
    all_sent = true;
  });
  // Nobody reads until the way is full: what is under way then is little.
  pollfd full{client.get(), POLLOUT, 0};
  for (int quiet = 0; quiet < 5 && !all_sent; usleep(10000)) quiet = poll(&full, 1, 0) == 0 ? quiet + 1 : 0;
  std::string got;
  for (std::string part = received(server.get(), 1 << 20); !part.empty(); part = received(server.get(), 1 << 20)) {
    got += part;
    if (got.size() > kTotal) break;
  }
  writer.join();
  CHECK(got.size() == kTotal);
  CHECK(got == sent);
}

TEST_CASE("relay: who is headed nowhere, straight to the listener, or to a container that refuses is reset") {
  if (Bed::skipped()) return;
  Bed bed;
  bed.publish(80);
  bed.meant = 81;
  CHECK(bed.turns_away());
  bed.meant = bed.port;
  bed.publish(bed.port);  // not even if it were published
  CHECK(bed.turns_away());
  bed.meant = 82;
  UniqueFd nobody = bound(SOCK_STREAM, kContainer);
  uint16_t closed = port_of(nobody.get());
  nobody.reset();
  CHECK(bed.tell(bed.entry(82, closed)).ok);
  CHECK(bed.turns_away());
  CHECK(bed.ends_with_connections(0));
}

TEST_CASE("relay: beyond the limit of connections the next one is reset, until one has ended") {
  if (Bed::skipped()) return;
  Bed bed({.connections = 2});
  bed.publish(80);
  auto one = bed.client();
  auto one_server = accepted(bed.container.get());
  auto two = bed.client();
  auto two_server = accepted(bed.container.get());
  CHECK(bed.turns_away());
  one.reset();
  CHECK(received(one_server.get()) == "");
  one_server.reset();
  CHECK(bed.ends_with_connections(1));
  auto three = bed.client();
  auto three_server = accepted(bed.container.get());
  say(three.get(), "here");
  CHECK(received(three_server.get()) == "here");
}

TEST_CASE("relay: an aborted connection is aborted on the other side too") {
  if (Bed::skipped()) return;
  Bed bed;
  bed.publish(80);
  auto client = bed.client();
  auto server = accepted(bed.container.get());
  linger at_once{1, 0};
  setsockopt(server.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  server.reset();
  CHECK(received(client.get()) == "reset");
}

TEST_CASE("relay: entries of the last engine live until sync, repeated ones with their connections") {
  if (Bed::skipped()) return;
  Bed bed;
  bed.publish(80);
  bed.publish(90);
  auto kept = bed.client();
  auto kept_server = accepted(bed.container.get());
  bed.meant = 90;
  auto lost = bed.client();
  auto lost_server = accepted(bed.container.get());
  CHECK(bed.tell({.type = "hello"}).version == kControlVersion);
  bed.publish(80);
  CHECK(bed.connections() == 2);
  CHECK(bed.tell({.type = "sync"}).ok);
  CHECK(received(lost.get()) == "reset");
  CHECK(received(lost_server.get()) == "reset");
  say(kept.get(), "still");
  CHECK(received(kept_server.get()) == "still");
  CHECK(bed.turns_away());
  ControlRequest removal = bed.entry(80, 0);
  removal.type = "remove";
  CHECK(bed.tell(removal).ok);
  CHECK(received(kept.get()) == "reset");
  CHECK(bed.ends_with_connections(0));
}

TEST_CASE("relay: requests that make no sense are refused in words") {
  if (Bed::skipped()) return;
  Bed bed;
  CHECK(bed.tell({.type = "dance"}).error == "unknown request 'dance'");
  CHECK(bed.tell({.type = "add"}).error == "protocol '' is not carried");
  CHECK(bed.tell(bed.entry(1, 1, "udp")).error == "0 descriptors for 1 ports");
  std::vector<UniqueFd> fds;
  fds.push_back(bound(SOCK_STREAM, "::1"));
  CHECK(bed.tell(bed.entry(1, 1, "udp"), std::move(fds)).error == "descriptor: not an IPv6 UDP socket");
  CHECK(bed.on_loop([&] { return bed.service->entries(); }) == 0);
  std::vector<UniqueFd> wrong;
  wrong.push_back(bound(SOCK_DGRAM, "::1"));
  CHECK_FALSE(bed.tell({.type = "hello"}, std::move(wrong)).ok);
}

TEST_CASE("relay: datagrams of several clients go there and back; the silent are forgotten in time") {
  if (Bed::skipped()) return;
  Bed bed({}, {.flows = 3});
  UniqueFd container = bound(SOCK_DGRAM, kContainer);
  std::vector<UniqueFd> fds;
  fds.push_back(bound(SOCK_DGRAM, "::1"));
  uint16_t port = port_of(fds[0].get());
  CHECK(bed.tell(bed.entry(port, port_of(container.get()), "udp"), std::move(fds)).ok);
  auto flows = [&] { return bed.on_loop([&] { return bed.service->udp().flows(); }); };
  auto advance = [&](int64_t seconds) {
    bed.clock.now += seconds * 1'000'000'000;
    bed.on_loop([&] {
      const_cast<UdpRelay&>(bed.service->udp()).forget_silent();
      return true;
    });
  };
  // Who sent it, as the container sees it.
  sockaddr_in peer{};
  auto arrived = [&] {
    std::string out(64, 0);
    socklen_t size = sizeof peer;
    ssize_t got = recvfrom(container.get(), out.data(), out.size(), 0, reinterpret_cast<sockaddr*>(&peer), &size);
    out.resize(got < 0 ? 0 : static_cast<size_t>(got));
    return out;
  };
  auto answer = [&](std::string_view text) {
    CHECK(sendto(container.get(), text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&peer), sizeof peer) > 0);
  };
  auto a = connected(SOCK_DGRAM, "::1", port), b = connected(SOCK_DGRAM, "::1", port);
  say(a.get(), "from a");
  CHECK(arrived() == "from a");
  sockaddr_in peer_of_a = peer;
  say(b.get(), "from b");
  CHECK(arrived() == "from b");
  CHECK(peer.sin_port != peer_of_a.sin_port);
  answer("to b");
  CHECK(received(b.get()) == "to b");
  peer = peer_of_a;
  answer("to a");
  CHECK(received(a.get()) == "to a");
  say(a.get(), "again");
  CHECK(arrived() == "again");
  CHECK(peer.sin_port == peer_of_a.sin_port);

  // Two that were answered, one that was not: another one takes its place, and those answered stay.
  auto c = connected(SOCK_DGRAM, "::1", port), d = connected(SOCK_DGRAM, "::1", port);
  say(c.get(), "c");
  CHECK(arrived() == "c");
  CHECK(flows() == 3);
  say(d.get(), "d");
  CHECK(arrived() == "d");
  CHECK(flows() == 3);
  advance(31);
  CHECK(flows() == 2);
  advance(150);
  CHECK(flows() == 0);

  // A container that refuses is no reason to stop.
  uint16_t old_port = port_of(container.get());
  container.reset();
  say(a.get(), "nobody");
  container.reset(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  auto at = socket_address({*parse_address(kContainer), old_port});
  REQUIRE(bind(container.get(), at.get(), at.size) == 0);
  timeval patience{1, 0};
  setsockopt(container.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  std::string text;
  for (int i = 0; i < 30 && text != "there?"; ++i) {
    say(a.get(), "there?");
    text = arrived();
  }
  CHECK(text == "there?");
  ControlRequest removal = bed.entry(port, 0, "udp");
  removal.type = "remove";
  CHECK(bed.tell(removal).ok);
  CHECK(flows() == 0);
  CHECK(bed.on_loop([&] { return bed.service->udp().sockets(); }) == 0);
}
