// SPDX-License-Identifier: Apache-2.0
#include "relay/table.h"

#include <doctest/doctest.h>
#include <netinet/in.h>

using namespace caisson;
using namespace caisson::relay;

namespace {

Entry entry_of(const char* host, uint16_t port, uint16_t count, const char* container, uint16_t container_port) {
  return {.udp = false,
          .host = {*parse_address(host), port},
          .count = count,
          .container = {*parse_address(container), container_port}};
}

std::string found(const Table& table, const char* host, uint16_t port, bool udp = false) {
  auto row = table.find(udp, {*parse_address(host), port});
  return row ? format_address(row->container.address) + "/" + std::to_string(row->container.port) : "nothing";
}

ControlRequest request_of(const char* host, uint16_t port, uint16_t count) {
  ControlRequest request{.type = "add", .protocol = "tcp", .host = host, .container = "::ffff:10.0.0.2"};
  request.port = port;
  request.count = count;
  request.container_port = 80;
  return request;
}

}  // namespace

TEST_CASE("relay table: the exact address counts before any, ranges keep their order") {
  Table table;
  REQUIRE(table.put(entry_of("::", 8080, 1, "::ffff:10.0.0.2", 80), 1));
  REQUIRE(table.put(entry_of("::1", 8080, 1, "::ffff:10.0.0.3", 81), 1));
  REQUIRE(table.put(entry_of("::", 9000, 1000, "fd00::5", 1000), 1));
  CHECK(found(table, "::1", 8080) == "::ffff:10.0.0.3/81");
  CHECK(found(table, "fd00::1", 8080) == "::ffff:10.0.0.2/80");
  CHECK(found(table, "::1", 9000) == "fd00::5/1000");
  CHECK(found(table, "::1", 9999) == "fd00::5/1999");
  CHECK(found(table, "::1", 10000) == "nothing");
  CHECK(found(table, "::1", 8999) == "nothing");
  CHECK(found(table, "::1", 8080, true) == "nothing");
}

TEST_CASE("relay table: the newest of two that overlap stays, the same again keeps its number") {
  Table table;
  auto first = table.put(entry_of("::", 100, 10, "::ffff:10.0.0.2", 80), 1);
  auto second = table.put(entry_of("::", 115, 5, "::ffff:10.0.0.2", 80), 1);
  auto other_address = table.put(entry_of("::1", 105, 5, "::ffff:10.0.0.2", 80), 1);
  REQUIRE((first && second && other_address));
  auto again = table.put(entry_of("::", 100, 10, "::ffff:10.0.0.2", 80), 2);
  REQUIRE(again);
  CHECK(again->known);
  CHECK(again->number == first->number);
  auto over = table.put(entry_of("::", 109, 7, "::ffff:10.0.0.9", 80), 2);
  REQUIRE(over);
  CHECK_FALSE(over->known);
  CHECK(over->displaced == std::vector<uint64_t>{first->number, second->number});
  CHECK(table.size() == 2);
  CHECK(found(table, "fd00::1", 100) == "nothing");
  CHECK(found(table, "fd00::1", 110) == "::ffff:10.0.0.9/81");
  CHECK(table.drop_others(2) == std::vector<uint64_t>{other_address->number});
  CHECK_FALSE(table.remove(entry_of("::", 109, 6, "::ffff:10.0.0.9", 80)));
  CHECK(table.remove(entry_of("::", 109, 7, "::1", 1)) == over->number);
  CHECK(table.size() == 0);
}

TEST_CASE("relay table: an entry beyond the limit is refused in words") {
  Table table;
  for (size_t i = 0; i < kMaxEntries; ++i)
    REQUIRE(table.put(entry_of("::", static_cast<uint16_t>(1 + i), 1, "::ffff:10.0.0.2", 80), 1));
  auto refused = table.put(entry_of("::1", 1, 1, "::ffff:10.0.0.2", 80), 1);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message == "more than 16384 entries");
}

TEST_CASE("relay table: requests are read, wrong ones refused in words") {
  auto entry = read_entry(request_of("fd00::1", 65535, 1), true);
  REQUIRE(entry);
  CHECK(*entry == entry_of("fd00::1", 65535, 1, "::ffff:10.0.0.2", 80));
  auto refusal = [](const ControlRequest& request) {
    auto read = read_entry(request, true);
    return read ? "none" : read.error().message;
  };
  CHECK(refusal(request_of("10.0.0.1", 1, 1)) == "address '10.0.0.1': not IPv6");
  CHECK(refusal(request_of("", 1, 1)) == "address '': not IPv6");
  CHECK(refusal(request_of("::", 65535, 2)) == "host: no 2 ports from 65535 on");
  CHECK(refusal(request_of("::", 0, 1)) == "host: no 1 ports from 0 on");
  CHECK(refusal(request_of("::", 1, 0)) == "host: no 0 ports from 1 on");
  CHECK(refusal(request_of("::", 1, 65500)) == "container: no 65500 ports from 80 on");
  ControlRequest nowhere = request_of("::", 1, 1);
  nowhere.container = "::";
  CHECK(refusal(nowhere) == "container: no address");
  nowhere.protocol = "sctp";
  CHECK(refusal(nowhere) == "protocol 'sctp' is not carried");
}

TEST_CASE("relay table: socket addresses are of the family meant") {
  CHECK(socket_address({*parse_address("::ffff:10.0.0.2"), 80}).storage.ss_family == AF_INET);
  CHECK(socket_address({*parse_address("::ffff:10.0.0.2"), 80}).size == sizeof(sockaddr_in));
  CHECK(socket_address({*parse_address("::1"), 80}).storage.ss_family == AF_INET6);
  CHECK(ntohl(reinterpret_cast<const sockaddr_in*>(socket_address({*parse_address("::ffff:10.0.0.2"), 80}).get())
                  ->sin_addr.s_addr) == 0x0a000002);
}
