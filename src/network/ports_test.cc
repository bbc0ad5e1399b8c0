// SPDX-License-Identifier: Apache-2.0
#include "network/ports.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "base/text.h"

namespace caisson::network {
namespace {

PublishedPort tcp(const char* address, uint16_t port, uint16_t count = 1) {
  PublishedPort out;
  out.protocol = IPPROTO_TCP;
  out.host_address = *parse_ip(address);
  out.host_port = port;
  out.container_address = *parse_ip("172.17.0.2");
  out.container_port = 80;
  out.count = count;
  return out;
}

std::string holder_of(PortTable& table, const PublishedPort& port) {
  std::vector<PublishedPort> ports{port};
  std::string holder;
  auto taken = table.take(ports, "other", &holder);
  if (!taken) CHECK(taken.error().kind == ErrorKind::kConflict);
  if (taken) table.release(ports);
  return taken ? "nobody" : holder;
}

TEST_CASE("ports: who has a port is told") {
  PortTable table;
  std::vector<PublishedPort> first{tcp("127.0.0.1", 23401), tcp("127.0.0.1", 23410, 5)};
  REQUIRE(table.take(first, "web"));
  CHECK(table.size() == 6);
  CHECK(holder_of(table, tcp("127.0.0.1", 23401)) == "web");
  CHECK(holder_of(table, tcp("0.0.0.0", 23412)) == "web");
  CHECK(holder_of(table, tcp("127.0.0.1", 23405, 10)) == "web");
  CHECK(holder_of(table, tcp("127.0.0.2", 23401)) == "nobody");
  CHECK(holder_of(table, tcp("127.0.0.1", 23415)) == "nobody");
  table.release(first);
  CHECK(table.size() == 0);
  CHECK(holder_of(table, tcp("127.0.0.1", 23401)) == "nobody");
}

TEST_CASE("ports: a program of the host that has a port is named") {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(fd);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&at), size) == 0);
  REQUIRE(listen(fd.get(), 1) == 0);
  REQUIRE(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &size) == 0);
  uint16_t port = ntohs(at.sin_port);
  PortTable table;
  for (const char* address : {"127.0.0.1", "0.0.0.0"}) {
    std::vector<PublishedPort> ports{tcp(address, port)};
    auto taken = table.take(ports);
    REQUIRE_FALSE(taken);
    CHECK(taken.error().kind == ErrorKind::kConflict);
    CHECK(taken.error().message == format("failed to bind host port for %s:%u:172.17.0.2:80/tcp: address already in "
                                          "use by network_test (pid %d)",
                                          address, port, getpid()));
  }
  CHECK(table.size() == 0);
}

}  // namespace
}  // namespace caisson::network
