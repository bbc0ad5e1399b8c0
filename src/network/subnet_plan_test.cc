// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "network/endpoint_settings.h"
#include "network/subnet_plan.h"

using namespace caisson;
using namespace caisson::network;

namespace {
std::string planned(AddressPlan plan, const std::vector<IpSubnet>& used = {}, bool v6 = false) {
  auto subnet = plan_subnet(plan, v6, used, default_blocks("seed"));
  return subnet ? plan.subnet + " " + plan.gateway : subnet.error().message;
}
AddressPlan with(const char* subnet, const char* gateway = "", const char* range = "") {
  AddressPlan plan;
  plan.subnet = subnet;
  plan.gateway = gateway;
  plan.range = range;
  return plan;
}
}  // namespace

TEST_CASE("subnet plan: gateways") {
  CHECK(planned(with("")) == "172.17.0.0/16 172.17.0.1");
  CHECK(planned(with(""), {*parse_ip_subnet("172.17.3.0/24")}) == "172.18.0.0/16 172.18.0.1");
  CHECK(planned(with("10.0.0.0/24")) == "10.0.0.0/24 10.0.0.1");
  CHECK(planned(with("10.0.0.0/24", "10.0.0.9")) == "10.0.0.0/24 10.0.0.9");
  CHECK(planned(with("10.0.0.0/24", "", "10.0.0.128/25")) == "10.0.0.0/24 10.0.0.128");
  CHECK(planned(with("10.0.0.0/24", "10.0.1.9")) == "no matching subnet for gateway 10.0.1.9");
  CHECK(planned(with("10.0.0.0/24", "10.0.0.255")) == "gateway 10.0.0.255 is not the address of a host");
  CHECK(planned(with("10.0.0.0/31")).ends_with("between 8 and 30"));
  CHECK(planned(with("10.0.0.0")) == "invalid CIDR address: 10.0.0.0");
  CHECK(planned(with("10.0.0.0/24"), {*parse_ip_subnet("10.0.0.128/25")}).ends_with("on this address space"));
  CHECK(planned(with("", "10.0.0.1")) == "a gateway or range needs a subnet");
}

TEST_CASE("subnet plan: addresses of a range, without the reserved ones") {
  auto spec = with("10.0.0.0/24", "10.0.0.1", "10.0.0.16/30");
  spec.reserved = {"10.0.0.17"};
  auto ipam = make_ipam(spec, *parse_ip_subnet("10.0.0.1/24"));
  REQUIRE(ipam);
  std::string got;
  while (auto address = (*ipam)->take()) got += address->text() + " ";
  CHECK(got == "10.0.0.16 10.0.0.18 10.0.0.19 ");
  CHECK((*ipam)->take_wanted(*parse_ip("10.0.0.200")));
  CHECK(!(*ipam)->take_wanted(*parse_ip("10.0.0.17")));
  (*ipam)->release(*parse_ip("10.0.0.17"));
  CHECK(!(*ipam)->take());
  spec.reserved = {"10.9.0.1"};
  CHECK(make_ipam(spec, *parse_ip_subnet("10.0.0.1/24")).error().message ==
        "no matching subnet for aux-address 10.9.0.1");
  spec = with("10.0.0.0/24", "", "10.1.0.0/25");
  CHECK(!make_ipam(spec, *parse_ip_subnet("10.0.0.1/24")));
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

TEST_CASE("subnet plan: IPv6") {
  auto plan6 = [](AddressPlan plan, const std::vector<IpSubnet>& used = {}) { return planned(plan, used, true); };
  std::string first = plan6(with(""));
  CHECK(first.starts_with("fd"));
  CHECK(first.find("::/64 ") != std::string::npos);
  auto subnet = parse_ip_subnet(first.substr(0, first.find(' ')));
  REQUIRE(subnet);
  std::string second = plan6(with(""), {*subnet});
  CHECK(second != first);
  CHECK(second.substr(0, 14) == first.substr(0, 14));  // of the same /48
  CHECK(plan6(with("fd00:1::/64")) == "fd00:1::/64 fd00:1::1");
  CHECK(plan6(with("fd00:1::/64", "fd00:1::5")) == "fd00:1::/64 fd00:1::5");
  CHECK(plan6(with("fd00:1::/64", "", "fd00:1::100/120")) == "fd00:1::/64 fd00:1::100");
  CHECK(plan6(with("fd00:1::/64", "fd00:2::5")) == "no matching subnet for gateway fd00:2::5");
  CHECK(plan6(with("fd00:1::/127")).ends_with("between 16 and 126"));
  CHECK(plan6(with("10.0.0.0/24")) == "subnet 10.0.0.0/24 is not of IPv6");
  CHECK(plan6(with("fd00:1::/64"), {*parse_ip_subnet("fd00::/16")}).ends_with("on this address space"));
  CHECK(
      plan6(with(""), {*parse_ip_subnet("fc00::/7")}).starts_with("could not find an available, non-overlapping IPv6"));
}

TEST_CASE("subnet plan: a network without a gateway of its own") {
  AddressPlan plan = with("10.0.0.0/24", "10.0.0.1");
  plan.mode = GatewayMode::kIsolated;
  CHECK(planned(plan) == "10.0.0.0/24 ");
}

TEST_CASE("subnet plan: pools") {
  auto blocks = [](std::vector<AddressBlock> given) { return parse_blocks(given, "seed"); };
  CHECK(blocks({})->size() == default_blocks("seed").size());
  CHECK(choose_subnet(false, {}, *blocks({{"10.10.0.0/16", 24}}))->text() == "10.10.0.0/24");
  CHECK(choose_subnet(true, {}, *blocks({{"fd12::/16", 64}}))->text() == "fd12::/64");
  // Whatever is in the way is stepped over at once.
  CHECK(choose_subnet(true, {*parse_ip_subnet("fd12::/18")}, *blocks({{"fd12::/16", 64}}))->text() == "fd12:4000::/64");
  CHECK(choose_subnet(true, {}, *blocks({{"10.10.0.0/16", 24}}))->v6());
  CHECK_FALSE(blocks({{"10.10.0.0/16", 8}}));
  CHECK_FALSE(blocks({{"10.10.0.0/16", 31}}));
  CHECK_FALSE(blocks({{"fd12::/16", 127}}));
  CHECK_FALSE(blocks({{"x", 24}}));
  CHECK(default_blocks("a").back().base.text() != default_blocks("b").back().base.text());
}
