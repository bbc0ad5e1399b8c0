// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "network/endpoint_settings.h"
#include "network/subnet_plan.h"

using namespace caisson;
using namespace caisson::network;

namespace {
std::string planned(NetworkSpec spec, const std::vector<Subnet>& used = {}) {
  auto subnet =
      spec.v4.subnet.empty() ? choose_network_subnet(spec, used, default_blocks()) : check_network_subnet(spec, used);
  return subnet ? spec.v4.subnet + " " + spec.v4.gateway : subnet.error().message;
}
NetworkSpec with(const char* subnet, const char* gateway = "", const char* range = "") {
  NetworkSpec spec;
  spec.v4.subnet = subnet;
  spec.v4.gateway = gateway;
  spec.v4.range = range;
  return spec;
}
}  // namespace

TEST_CASE("subnet plan: gateways") {
  CHECK(planned(with("")) == "172.17.0.0/16 172.17.0.1");
  CHECK(planned(with(""), {*parse_subnet("172.17.3.0/24")}) == "172.18.0.0/16 172.18.0.1");
  CHECK(planned(with("10.0.0.0/24")) == "10.0.0.0/24 10.0.0.1");
  CHECK(planned(with("10.0.0.0/24", "10.0.0.9")) == "10.0.0.0/24 10.0.0.9");
  CHECK(planned(with("10.0.0.0/24", "", "10.0.0.128/25")) == "10.0.0.0/24 10.0.0.128");
  CHECK(planned(with("10.0.0.0/24", "10.0.1.9")) == "no matching subnet for gateway 10.0.1.9");
  CHECK(planned(with("10.0.0.0/24", "10.0.0.255")) == "gateway 10.0.0.255 is not the address of a host");
  CHECK(planned(with("10.0.0.0/31")).ends_with("between 8 and 30"));
  CHECK(planned(with("10.0.0.0")) == "invalid CIDR address: 10.0.0.0");
  CHECK(planned(with("10.0.0.0/24"), {*parse_subnet("10.0.0.128/25")}).ends_with("on this address space"));
  CHECK(planned(with("", "10.0.0.1")) == "a gateway or range needs a subnet");
}

TEST_CASE("subnet plan: addresses of a range, without the reserved ones") {
  auto spec = with("10.0.0.0/24", "10.0.0.1", "10.0.0.16/30");
  spec.v4.reserved = {"10.0.0.17"};
  auto ipam = make_ipam(spec, *parse_subnet("10.0.0.1/24"));
  REQUIRE(ipam);
  std::string got;
  while (auto address = (*ipam)->take()) got += format_ipv4(*address) + " ";
  CHECK(got == "10.0.0.16 10.0.0.18 10.0.0.19 ");
  CHECK((*ipam)->take_wanted(*parse_ipv4("10.0.0.200")));
  CHECK(!(*ipam)->take_wanted(*parse_ipv4("10.0.0.17")));
  (*ipam)->release(*parse_ipv4("10.0.0.17"));
  CHECK(!(*ipam)->take());
  spec.v4.reserved = {"10.9.0.1"};
  CHECK(make_ipam(spec, *parse_subnet("10.0.0.1/24")).error().message == "no matching subnet for aux-address 10.9.0.1");
  spec = with("10.0.0.0/24", "", "10.1.0.0/25");
  CHECK(!make_ipam(spec, *parse_subnet("10.0.0.1/24")));
}

TEST_CASE("endpoint settings: nothing but the interface's own") {
  auto good = parse_settings({"net.ipv4.conf.IFNAME.log_martians=1"}, "eth0");
  REQUIRE(good);
  CHECK(good->at(0).path == "/proc/sys/net/ipv4/conf/eth0/log_martians");
  for (const char* bad :
       {"", "x", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.IFNAME.a/b=1",
        "net.core.conf.IFNAME.x=1", "net.ipv4.conf.IFNAME...=1", "net.ipv4.conf.IFNAME.x"})
    CHECK_MESSAGE(!parse_settings({bad}, "eth0"), bad);
}
