// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <set>

#include "network/ipam.h"
#include "network/subnet_plan.h"

using namespace caisson;
using namespace caisson::network;

namespace {
Ipam make(const char* gateway) {
  auto subnet = parse_gateway(gateway);
  REQUIRE(subnet);
  return Ipam(*subnet);
}
std::string next(Ipam& ipam) {
  auto address = ipam.take();
  return address ? address->text() : address.error().message;
}
}  // namespace

TEST_CASE("ipam: addresses go up and are not reused at once") {
  Ipam ipam = make("172.17.0.1/16");
  CHECK(next(ipam) == "172.17.0.2");
  CHECK(next(ipam) == "172.17.0.3");
  ipam.release(*parse_ip("172.17.0.2"));
  CHECK(next(ipam) == "172.17.0.4");
  CHECK(ipam.take_wanted(*parse_ip("172.17.1.9")));
  CHECK(next(ipam) == "172.17.1.10");
}

TEST_CASE("ipam: a small subnet gives every host address once, then wraps") {
  for (const char* gateway : {"10.0.0.1/29", "10.0.0.3/29", "10.0.0.6/29"}) {
    Ipam ipam = make(gateway);
    std::set<std::string> seen;
    for (int i = 0; i < 5; ++i) seen.insert(next(ipam));
    CHECK(seen.size() == 5);
    CHECK(!seen.contains("10.0.0.0"));
    CHECK(!seen.contains("10.0.0.7"));
    CHECK(!seen.contains(std::string(gateway, 8)));
    CHECK(next(ipam) == "no available IPv4 addresses on the subnet 10.0.0.0/29");
    CHECK(ipam.take().error().kind == ErrorKind::kExhausted);
    ipam.release(*parse_ip("10.0.0.5"));
    CHECK(next(ipam) == "10.0.0.5");
  }
}

TEST_CASE("ipam: a full /16 is searched to its last free address") {
  Ipam ipam = make("172.17.0.1/16");
  for (int i = 0; i < 65533; ++i) REQUIRE(ipam.take());
  CHECK(!ipam.take());
  for (const char* address : {"172.17.255.254", "172.17.0.2", "172.17.128.64", "172.17.0.63"}) {
    ipam.release(*parse_ip(address));
    CHECK(next(ipam) == address);
  }
}

TEST_CASE("ipam: wanted addresses") {
  Ipam ipam = make("172.17.0.1/16");
  CHECK(ipam.take_wanted(*parse_ip("172.18.0.2")).error().message ==
        "address 172.18.0.2 is not in the subnet 172.17.0.0/16");
  for (const char* reserved : {"172.17.0.0", "172.17.0.1", "172.17.255.255"})
    CHECK(ipam.take_wanted(*parse_ip(reserved)).error().kind == ErrorKind::kConflict);
  CHECK(ipam.take_wanted(*parse_ip("172.17.0.9")));
  CHECK(ipam.take_wanted(*parse_ip("172.17.0.9")).error().message == "address 172.17.0.9 is already in use");
  ipam.release(*parse_ip("172.17.0.9"));
  CHECK(ipam.take_wanted(*parse_ip("172.17.0.9")));
  // Releasing what was never taken, or never could be, changes nothing.
  ipam.release(*parse_ip("172.17.0.1"));
  ipam.release(*parse_ip("1.2.3.4"));
  CHECK(ipam.take_wanted(*parse_ip("172.17.0.1")).error().kind == ErrorKind::kConflict);
}

TEST_CASE("ipam: IPv6 subnets cost what is used of them") {
  Ipam ipam = make("fd00:1::1/64");
  CHECK(next(ipam) == "fd00:1::2");
  CHECK(next(ipam) == "fd00:1::3");
  CHECK(ipam.take_wanted(*parse_ip("fd00:1::ffff:ffff:ffff:ffff")));
  CHECK(ipam.take_wanted(*parse_ip("fd00:1::1")).error().kind == ErrorKind::kConflict);
  CHECK(ipam.take_wanted(*parse_ip("172.17.0.9")).error().message ==
        "address 172.17.0.9 is not in the subnet fd00:1::/64");
  // The pointer stands behind the last address there is.
  CHECK(next(ipam) == "fd00:1::4");
  Ipam small = make("fd00:1::1/126");
  CHECK(next(small) == "fd00:1::2");
  CHECK(next(small) == "fd00:1::3");
  CHECK(next(small) == "no available IPv6 addresses on the subnet fd00:1::/126");
}
