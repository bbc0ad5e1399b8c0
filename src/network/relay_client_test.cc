// SPDX-License-Identifier: Apache-2.0
// The client against the program itself, on loopback; skipped where caisson-relay does not lie beside the test. TCP
// through a redirecting rule: tests/api/test_relay_server.py.
#include "network/relay_client.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "sys/files.h"

using namespace caisson;
using namespace caisson::network;

namespace {

constexpr int kPatienceMs = 30000;  // what a loaded machine may take; a good run waits for nothing
constexpr int64_t kNever = 1'000'000'000;
constexpr IpAddress kLoopback = {true, 1};

template <class Condition>
bool comes_true(Condition condition) {
  for (int64_t end = monotonic_ns() + kPatienceMs * 1'000'000LL; monotonic_ns() < end; usleep(3000))
    if (condition()) return true;
  return false;
}

sockaddr_in6 loopback(uint16_t port) {
  sockaddr_in6 at{};
  at.sin6_family = AF_INET6;
  at.sin6_port = htons(port);
  at.sin6_addr = in6addr_loopback;
  return at;
}

UniqueFd udp_on_loopback(uint16_t port) {
  UniqueFd fd(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 at = loopback(port);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) < 0) fd.reset();
  return fd;
}

uint16_t port_of(int fd) {
  sockaddr_in6 at{};
  socklen_t size = sizeof at;
  REQUIRE(getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) == 0);
  return ntohs(at.sin6_port);  // at the same place for both families
}

// A container's UDP server: sends back what it gets, for as long as somebody calls serve().
struct Container {
  UniqueFd fd{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  Container() {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  }
  void serve() const {
    char bytes[64];
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    ssize_t got = recvfrom(fd.get(), bytes, sizeof bytes, 0, reinterpret_cast<sockaddr*>(&peer), &size);
    if (got > 0)
      (void)!sendto(fd.get(), bytes, static_cast<size_t>(got), 0, reinterpret_cast<sockaddr*>(&peer), sizeof peer);
  }
};

struct Bed {
  std::string directory;
  Container container;
  std::vector<pid_t> programs;

  Bed() {
    char name[] = "/tmp/caisson-relay-XXXXXX";
    directory = mkdtemp(name);
  }
  ~Bed() { (void)sys::remove_tree(directory).has_value(); }

  static bool skipped() {
    if (!sys::path_exists(*sys::program_dir() + "/caisson-relay")) {
      MESSAGE("SKIPPED: caisson-relay is not built");
      return true;
    }
    if (udp_on_loopback(0)) return false;
    MESSAGE("SKIPPED: no IPv6 on loopback");
    return true;
  }
  std::unique_ptr<RelayClient> client(int64_t delay_ms = 0) const {
    auto made = RelayClient::create({*sys::program_dir() + "/caisson-relay", directory + "/relay.sock", delay_ms});
    REQUIRE(made);
    return std::move(*made);
  }
  RelayEntry udp(uint16_t port, uint16_t count = 1) const {
    return {IPPROTO_UDP, kLoopback, port, count, IpAddress::ipv4(INADDR_LOOPBACK), port_of(container.fd.get())};
  }
  RelayEntry tcp(uint16_t port) const {
    return {IPPROTO_TCP, any_ip(true), port, 1, IpAddress::ipv4(INADDR_LOOPBACK), 1};
  }
  // A free port of [::1]; nobody else is at work in a test's namespace but by chance.
  static uint16_t free_port() { return port_of(udp_on_loopback(0).get()); }

  bool answers(uint16_t port) const {
    UniqueFd fd = udp_on_loopback(0);
    sockaddr_in6 at = loopback(port);
    timeval short_while{0, 20000};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &short_while, sizeof short_while);
    auto ask = [&] {
      char byte = 0;
      (void)!sendto(fd.get(), "?", 1, 0, reinterpret_cast<sockaddr*>(&at), sizeof at);
      usleep(1000);
      container.serve();
      sockaddr_in6 from{};
      socklen_t size = sizeof from;
      return recvfrom(fd.get(), &byte, 1, 0, reinterpret_cast<sockaddr*>(&from), &size) == 1 &&
             ntohs(from.sin6_port) == port;
    };
    return comes_true(ask);
  }
};

bool ended(pid_t pid) {
  return comes_true([&] { return kill(pid, 0) < 0 || !sys::path_exists("/proc/" + std::to_string(pid) + "/exe"); });
}

// What a stranger at the listener gets.
bool is_reset(uint16_t port) {
  UniqueFd fd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 at = loopback(port);
  timeval patience{kPatienceMs / 1000, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) < 0) return errno == ECONNRESET;
  char byte;
  return recv(fd.get(), &byte, 1, 0) < 0 && errno == ECONNRESET;
}

// No engine is left that would want it.
void end_program(std::unique_ptr<RelayClient> client, const std::vector<RelayEntry>& entries) {
  pid_t pid = client->program_pid();
  for (const RelayEntry& entry : entries) client->remove(entry);
  client.reset();
  if (pid) CHECK(ended(pid));
}

}  // namespace

TEST_CASE("relay client: the first client starts the program, a removed port is free at once") {
  if (Bed::skipped()) return;
  Bed bed;
  auto client = bed.client(kNever);
  uint16_t port = Bed::free_port();
  CHECK(client->program_pid() == 0);
  REQUIRE(client->add(bed.udp(port)));
  CHECK(client->program_pid() == 0);
  CHECK_FALSE(udp_on_loopback(port));
  CHECK(bed.answers(port));
  CHECK(client->program_pid() > 0);
  uint16_t second = Bed::free_port();
  REQUIRE(client->add(bed.udp(second)));
  CHECK(bed.answers(second));
  client->remove(bed.udp(port));
  CHECK(udp_on_loopback(port));
  end_program(std::move(client), {bed.udp(second)});
}

TEST_CASE("relay client: without a client the program starts after a while") {
  if (Bed::skipped()) return;
  Bed bed;
  auto client = bed.client(30);
  REQUIRE(client->add(bed.tcp(8080)));
  CHECK(comes_true([&] { return client->program_pid() > 0; }));
  auto port = client->port();
  REQUIRE(port);
  CHECK(is_reset(*port));
  end_program(std::move(client), {bed.tcp(8080)});
}

TEST_CASE("relay client: strangers at the listener are turned away while no program runs") {
  if (Bed::skipped()) return;
  Bed bed;
  auto client = bed.client();
  auto port = client->port();
  REQUIRE(port);
  CHECK(is_reset(*port));
  CHECK(client->program_pid() == 0);
  CHECK(client->port().value_or(0) == *port);
}

TEST_CASE("relay client: a program that dies is replaced with the same sockets") {
  if (Bed::skipped()) return;
  Bed bed;
  auto client = bed.client();
  uint16_t port = Bed::free_port();
  REQUIRE(client->add(bed.udp(port)));
  auto listener = client->port();
  REQUIRE(bed.answers(port));
  pid_t first = client->program_pid();
  REQUIRE(kill(first, SIGKILL) == 0);
  CHECK(bed.answers(port));
  CHECK(client->program_pid() != first);
  CHECK(client->port().value_or(0) == listener.value_or(1));
  CHECK(is_reset(*listener));
  end_program(std::move(client), {bed.udp(port)});
}

TEST_CASE("relay client: the program outlives the client, the next one finds sockets and port again") {
  if (Bed::skipped()) return;
  Bed bed;
  auto client = bed.client();
  uint16_t kept = Bed::free_port();
  REQUIRE(client->add(bed.udp(kept)));
  uint16_t dropped = Bed::free_port();
  REQUIRE(client->add(bed.udp(dropped)));
  auto listener = client->port();
  REQUIRE(bed.answers(kept));
  REQUIRE(bed.answers(dropped));
  pid_t pid = client->program_pid();
  client.reset();
  CHECK(bed.answers(kept));
  client = bed.client();
  CHECK(client->program_pid() == pid);
  CHECK(client->port().value_or(0) == listener.value_or(1));
  REQUIRE(client->add(bed.udp(kept)));
  CHECK(bed.answers(dropped));
  client->sync();
  CHECK(comes_true([&] { return bool(udp_on_loopback(dropped)); }));
  CHECK(bed.answers(kept));
  CHECK(client->program_pid() == pid);
  end_program(std::move(client), {bed.udp(kept)});
}

TEST_CASE("relay client: entries that nobody started the program for are served after the client's end") {
  if (Bed::skipped()) return;
  Bed bed;
  auto client = bed.client(kNever);
  uint16_t port = Bed::free_port();
  REQUIRE(client->add(bed.udp(port)));
  client.reset();
  CHECK(bed.answers(port));
  client = bed.client();
  CHECK(client->program_pid() > 0);
  REQUIRE(client->add(bed.udp(port)));
  end_program(std::move(client), {bed.udp(port)});
}

TEST_CASE("relay client: one that hangs is ended by the next client and replaced") {
  if (Bed::skipped()) return;
  Bed bed;
  auto client = bed.client();
  REQUIRE(client->add(bed.tcp(8080)));
  REQUIRE(comes_true([&] { return client->program_pid() > 0; }));
  pid_t pid = client->program_pid();
  client.reset();
  REQUIRE(kill(pid, SIGSTOP) == 0);
  client = bed.client();
  CHECK(client->program_pid() == 0);
  CHECK(ended(pid));
  REQUIRE(client->add(bed.tcp(8080)));
  CHECK(comes_true([&] { return client->program_pid() > 0; }));
  end_program(std::move(client), {bed.tcp(8080)});
}

TEST_CASE("relay client: ranges of UDP ports, given sockets, and what is refused") {
  if (Bed::skipped()) return;
  Bed bed;
  auto client = bed.client();
  // A range of 40 next to each other, which is carried in several requests; the container listens to the last one.
  constexpr uint16_t kCount = 40;
  RelayEntry range = bed.udp(0, kCount);
  range.container_port = static_cast<uint16_t>(range.container_port - (kCount - 1));
  Result<> added = fail(ErrorKind::kConflict, "not tried");
  for (int attempt = 0; attempt < 100 && !added; ++attempt) {
    range.first_port = static_cast<uint16_t>(20000 + attempt * 100);
    added = client->add(range);
    if (!added) CHECK(added.error().kind == ErrorKind::kConflict);
  }
  REQUIRE(added);
  CHECK(bed.answers(static_cast<uint16_t>(range.first_port + kCount - 1)));
  REQUIRE(client->add(range));

  std::vector<UniqueFd> given;
  given.push_back(udp_on_loopback(0));
  uint16_t port = port_of(given[0].get());
  REQUIRE(client->add(bed.udp(port), std::move(given)));
  CHECK(bed.answers(port));

  UniqueFd taken = udp_on_loopback(0);
  auto conflict = client->add(bed.udp(port_of(taken.get())));
  REQUIRE_FALSE(conflict);
  CHECK(conflict.error().kind == ErrorKind::kConflict);
  CHECK(conflict.error().message == format("relay: bind '[::1]:%u': Address already in use", port_of(taken.get())));
  auto refusal = [&](RelayEntry entry) {
    auto tried = client->add(entry);
    return tried ? "none" : tried.error().message;
  };
  CHECK(refusal(bed.udp(30000, 65)) == "relay: more than 64 UDP ports in one range are not carried");
  RelayEntry wrong = bed.tcp(1);
  wrong.protocol = IPPROTO_SCTP;
  CHECK(refusal(wrong) == "relay: protocol 132 is not carried");
  wrong = bed.tcp(0);
  CHECK(refusal(wrong) == "relay: no 1 ports from 0 and 1 on");
  wrong = bed.tcp(1);
  wrong.container_address = {};
  CHECK(refusal(wrong) == "relay: a container without address");
  wrong = bed.tcp(1);
  wrong.host_address = any_ip(false);
  CHECK(refusal(wrong) == "relay: the host's address is not IPv6");
  end_program(std::move(client), {range, bed.udp(port)});
}

TEST_CASE("relay client: a program that cannot be started is told of, not waited for") {
  Bed bed;
  auto client = RelayClient::create({bed.directory + "/missing", bed.directory + "/relay.sock", 0});
  REQUIRE(client);
  CHECK((*client)->add(bed.tcp(8080)));
  CHECK((*client)->port());
  (*client)->remove(bed.tcp(8080));
  CHECK((*client)->program_pid() == 0);
}
