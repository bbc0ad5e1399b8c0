// SPDX-License-Identifier: Apache-2.0
#include "sys/unix_socket.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace caisson;
using namespace caisson::sys;

TEST_CASE("unix socket: what the peer has not read is told") {
  auto pair = socket_pair(SOCK_STREAM);
  REQUIRE(pair);
  CHECK_FALSE(peer_has_unread_bytes(pair->first.get()));
  REQUIRE(write(pair->first.get(), "head", 4) == 4);
  CHECK(peer_has_unread_bytes(pair->first.get()));
  CHECK_FALSE(peer_has_unread_bytes(pair->second.get()));
  char buffer[8];
  REQUIRE(read(pair->second.get(), buffer, sizeof buffer) == 4);
  CHECK_FALSE(peer_has_unread_bytes(pair->first.get()));
}

TEST_CASE("unix socket: other sockets and bad descriptors have nothing unread") {
  UniqueFd other(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK_FALSE(peer_has_unread_bytes(other.get()));
  CHECK_FALSE(peer_has_unread_bytes(-1));
}
