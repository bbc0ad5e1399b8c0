// SPDX-License-Identifier: Apache-2.0
// The client against the program itself, on loopback; skipped where caisson-dns does not lie beside the test.
#include "network/dns_client.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "sys/files.h"
#include "wire/dns_message.h"

using namespace caisson;
using namespace caisson::network;

namespace {

constexpr int kPatienceMs = 30000;  // what a loaded machine may take; a good run waits for nothing

UniqueFd bound_socket(int type) {
  UniqueFd fd(socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, std::string(kDnsAddress).c_str(), &address.sin_addr);
  REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  if (type == SOCK_STREAM) REQUIRE(listen(fd.get(), 16) == 0);
  return fd;
}

struct Bed {
  std::string directory;
  sockaddr_in address{};

  Bed() {
    char name[] = "/tmp/caisson-dns-XXXXXX";
    directory = mkdtemp(name);
  }
  ~Bed() { (void)sys::remove_tree(directory).has_value(); }

  static bool skipped() {
    if (sys::path_exists(*sys::program_dir() + "/caisson-dns")) return false;
    MESSAGE("SKIPPED: caisson-dns is not built");
    return true;
  }
  std::unique_ptr<DnsClient> client() const {
    auto made = DnsClient::create({*sys::program_dir() + "/caisson-dns", directory + "/dns.sock"});
    REQUIRE(made);
    return std::move(*made);
  }
  DnsSockets sockets() {
    DnsSockets out{.udp = bound_socket(SOCK_DGRAM), .tcp = bound_socket(SOCK_STREAM), .query = {}};
    out.query.emplace_back(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    socklen_t size = sizeof address;
    REQUIRE(getsockname(out.udp.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    return out;
  }
  // The first address in the reply's place for one, or its code; "silence".
  std::string ask(std::string_view name, int patience_ms = kPatienceMs) const {
    UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    dns::Query query;
    query.recursion_desired = true;
    query.question = std::string(1, static_cast<char>(name.size())) + std::string(name) + std::string("\0\0\1\0\1", 5);
    std::string message = dns::make_query(query, 7, 512);
    char reply[512];
    // The program may be away for a moment, and what reaches its sockets meanwhile waits there.
    if (sendto(fd.get(), message.data(), message.size(), 0, reinterpret_cast<const sockaddr*>(&address),
               sizeof address) < 0)
      return "not sent";
    pollfd entry{fd.get(), POLLIN, 0};
    if (poll(&entry, 1, patience_ms) <= 0) return "silence";
    ssize_t got = recv(fd.get(), reply, sizeof reply, 0);
    if (got < 16) return "short";
    if (got == static_cast<ssize_t>(message.size())) return "code " + std::to_string(reply[3] & 15);
    dns::Address found{.size = 4};
    std::copy(reply + got - 4, reply + got, found.bytes.begin());
    return dns::format_address(found);
  }
};

DnsScope scope_of(std::string id) {
  return {.id = std::move(id), .networks = {{.id = "n1", .links = {}}}, .upstreams = std::nullopt};
}
DnsEndpoint endpoint_of(std::string name, std::string address) {
  return {.network_id = "n1",
          .network_name = "front",
          .id = "e-" + name,
          .name = name,
          .aliases = {},
          .addresses = {std::move(address)}};
}

// True as soon as a program other than `old` runs.
bool another_runs(DnsClient& client, pid_t old) {
  for (int64_t end = monotonic_ns() + kPatienceMs * 1'000'000LL; monotonic_ns() < end; usleep(5000))
    if (pid_t now = client.program_pid(); now && now != old) return true;
  return false;
}

}  // namespace

TEST_CASE("dns client: names are served, changed and taken back; wrong ones are refused in words") {
  if (Bed::skipped()) return;
  Bed bed;
  auto client = bed.client();
  // Before anybody is served no program runs; it learns later what it was told before.
  REQUIRE(client->add(endpoint_of("web", "172.18.0.2")));
  CHECK(client->program_pid() == 0);
  REQUIRE(client->attach(scope_of("me"), bed.sockets()));
  CHECK(client->program_pid() > 0);
  CHECK(bed.ask("web") == "172.18.0.2");
  REQUIRE(client->add(endpoint_of("db", "172.18.0.3")));
  DnsScope linked = scope_of("me");
  linked.networks[0].links["sql"] = "db";
  CHECK(bed.ask("sql") == "code 2");
  REQUIRE(client->change_scope(linked));
  CHECK(bed.ask("sql") == "172.18.0.3");
  client->remove("n1", "e-web");
  CHECK(bed.ask("web") == "code 2");
  auto refused = client->add(endpoint_of("bad", "172.18"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == ErrorKind::kInvalid);
  CHECK(refused.error().message == "embedded DNS: address '172.18': neither IPv4 nor IPv6");
  CHECK(client->change_scope(scope_of("you")).error().kind == ErrorKind::kNotFound);
  CHECK(client->attach(scope_of("you"), {}).error().kind == ErrorKind::kInvalid);
  auto again = client->resume(scope_of("you"));
  REQUIRE(again);
  CHECK_FALSE(*again);
  client->detach("me");
}

TEST_CASE("dns client: a program that dies is replaced, told everything, and goes on with the same sockets") {
  if (Bed::skipped()) return;
  Bed bed;
  auto client = bed.client();
  REQUIRE(client->add(endpoint_of("web", "172.18.0.2")));
  REQUIRE(client->attach(scope_of("me"), bed.sockets()));
  pid_t first = client->program_pid();
  REQUIRE(bed.ask("web") == "172.18.0.2");
  REQUIRE(kill(first, SIGKILL) == 0);
  // Without any call of ours.
  REQUIRE(another_runs(*client, first));
  CHECK(kill(first, 0) < 0);  // not even a zombie
  CHECK(bed.ask("web") == "172.18.0.2");
  // By a call, should it come first.
  pid_t second = client->program_pid();
  REQUIRE(kill(second, SIGKILL) == 0);
  REQUIRE(client->add(endpoint_of("db", "172.18.0.3")));
  REQUIRE(client->ensure());
  CHECK(client->program_pid() != second);
  CHECK(bed.ask("db") == "172.18.0.3");
  CHECK(bed.ask("web") == "172.18.0.2");
  client->detach("me");
}

TEST_CASE("dns client: one that hangs is ended and replaced within the call") {
  if (Bed::skipped()) return;
  Bed bed;
  auto client = bed.client();
  REQUIRE(client->add(endpoint_of("web", "172.18.0.2")));
  REQUIRE(client->attach(scope_of("me"), bed.sockets()));
  pid_t first = client->program_pid();
  REQUIRE(kill(first, SIGSTOP) == 0);
  REQUIRE(client->add(endpoint_of("db", "172.18.0.3")));
  CHECK(client->program_pid() != first);
  CHECK(bed.ask("db") == "172.18.0.3");
  client->detach("me");
}

TEST_CASE("dns client: the next engine takes over what the last one left") {
  if (Bed::skipped()) return;
  Bed bed;
  pid_t program = 0;
  {
    auto client = bed.client();
    REQUIRE(client->add(endpoint_of("web", "172.18.0.2")));
    REQUIRE(client->add(endpoint_of("old", "172.18.0.9")));
    REQUIRE(client->attach(scope_of("gone"), bed.sockets()));
    REQUIRE(client->attach(scope_of("me"), bed.sockets()));
    program = client->program_pid();
  }
  CHECK(bed.ask("web") == "172.18.0.2");
  auto client = bed.client();
  auto resumed = client->resume(scope_of("me"));
  REQUIRE(resumed);
  CHECK(*resumed);
  CHECK(client->program_pid() == program);
  CHECK(bed.ask("old") == "172.18.0.9");
  REQUIRE(client->add(endpoint_of("web", "172.18.0.2")));
  REQUIRE(client->finish_restore());
  CHECK(bed.ask("old") == "code 2");
  auto gone = client->resume(scope_of("gone"));
  REQUIRE(gone);
  CHECK_FALSE(*gone);
  // It holds the sockets again: a program that dies now takes nothing with it.
  REQUIRE(kill(program, SIGKILL) == 0);
  REQUIRE(another_runs(*client, program));
  CHECK(bed.ask("web") == "172.18.0.2");
  client->detach("me");
}

TEST_CASE("dns client: a program that cannot be started") {
  Bed bed;
  auto client = DnsClient::create({bed.directory + "/nowhere", bed.directory + "/dns.sock"});
  REQUIRE(client);
  CHECK((*client)->ensure().error().kind == ErrorKind::kUnavailable);
  CHECK((*client)->attach(scope_of("me"), bed.sockets()).error().kind == ErrorKind::kUnavailable);
  CHECK((*client)->finish_restore());
  (*client)->detach("me");
}

TEST_CASE("dns client: servers of a resolv.conf") {
  auto found = upstreams_of(
      "# nameserver 9.9.9.9\nsearch a\nnameserver 127.0.0.53 ; local\n nameserver 1.1.1.1\n"
      "nameserver\tfd00::1\nnameserver fe80::1%eth0\nnameserver x\nnameserver ::1\nnameserver 8.8.8.8");
  REQUIRE(found.size() == 3);
  CHECK(found[0].address == "127.0.0.53");
  CHECK(found[0].from_host);
  CHECK(found[1].address == "fd00::1");
  CHECK_FALSE(found[1].from_host);
  CHECK(found[2].address == "::1");
  CHECK(found[2].from_host);
  CHECK(upstreams_of("").empty());
}
