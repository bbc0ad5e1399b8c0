// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <netinet/in.h>

#include "network/ipv4.h"
#include "network/network_manager.h"
#include "network/ports.h"

using namespace caisson;
using namespace caisson::network;

TEST_CASE("ipv4: addresses are dotted decimal and nothing else") {
  CHECK(parse_ipv4("172.17.0.1") == 0xac110001u);
  CHECK(parse_ipv4("255.255.255.255") == 0xffffffffu);
  for (const char* bad :
       {"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "1..3.4", "a.b.c.d", "-1.2.3.4", "::1"})
    CHECK_MESSAGE(!parse_ipv4(bad), bad);
  CHECK(format_ipv4(0xac110001u) == "172.17.0.1");
}

TEST_CASE("ipv4: mac addresses") {
  CHECK(format_mac(mac_of(0xac110002u)) == "02:42:ac:11:00:02");
  CHECK(format_mac(*parse_mac("02:42:AC:11:00:fF")) == "02:42:ac:11:00:ff");
  for (const char* bad :
       {"", "02:42:ac:11:00", "02:42:ac:11:00:2", "02:42:ac:11:00:0g", "02-42-ac-11-00-02", "02:42:ac:11:00:02:03"})
    CHECK_MESSAGE(!parse_mac(bad), bad);
}

TEST_CASE("ipv4: gateways") {
  CHECK(parse_gateway("172.17.0.1/16")->text() == "172.17.0.0/16");
  CHECK(parse_gateway("10.1.2.3/8")->text() == "10.0.0.0/8");
  for (const char* bad : {"", "172.17.0.1", "172.17.0.0/16", "172.17.255.255/16", "172.17.0.1/7", "172.17.0.1/31",
                          "172.17.0.1/x", "/16", "fe80::1/64"})
    CHECK_MESSAGE(!parse_gateway(bad), bad);
  CHECK(parse_gateway("172.17.0.0/16").error().message ==
        "bridge address '172.17.0.0/16' is not the address of a host");
}

TEST_CASE("ipv4: the subnet chosen overlaps nothing in use") {
  auto choose = [](std::vector<Subnet> used) {
    auto chosen = choose_subnet(used);
    return chosen ? format_ipv4(chosen->address) + " " + chosen->text() : chosen.error().message;
  };
  auto net = [](const char* text, int prefix) { return Subnet{*parse_ipv4(text), prefix}; };
  CHECK(choose({}) == "172.17.0.1 172.17.0.0/16");
  CHECK(choose({net("172.17.200.1", 32)}) == "172.18.0.1 172.18.0.0/16");
  CHECK(choose({net("172.16.0.0", 14)}) == "172.20.0.1 172.20.0.0/16");
  CHECK(choose({net("10.0.0.0", 8), net("192.168.0.0", 16)}) == "172.17.0.1 172.17.0.0/16");
  CHECK(choose({net("172.16.0.0", 12)}) == "192.168.0.1 192.168.0.0/20");
  CHECK(choose({net("172.16.0.0", 12), net("192.168.1.0", 24), net("192.168.31.5", 32)}) ==
        "192.168.32.1 192.168.32.0/20");
  CHECK(choose_subnet({net("172.16.0.0", 12), net("192.168.0.0", 16)}).error().kind == ErrorKind::kExhausted);
}

TEST_CASE("ports: mappings are checked") {
  auto port = parse_mapping({"udp", 53, "127.0.0.1", 5353}, 0xac110002u);
  REQUIRE(port);
  CHECK(port->protocol == IPPROTO_UDP);
  CHECK(port->host() == "127.0.0.1:5353");
  CHECK(parse_mapping({"", 80, "", 8080}, 1)->host() == "0.0.0.0:8080");
  CHECK(parse_mapping({"tcp", 0, "", 1}, 1).error().kind == ErrorKind::kInvalid);
  CHECK(parse_mapping({"tcp", 80, "host", 1}, 1).error().kind == ErrorKind::kInvalid);
  CHECK(parse_mapping({"tcp", 80, "::1", 1}, 1).error().kind == ErrorKind::kUnsupported);
  CHECK(parse_mapping({"sctp", 80, "", 1}, 1).error().kind == ErrorKind::kUnsupported);
}

TEST_CASE("network manager: bad configurations are refused without touching the kernel") {
  auto create = [](auto&& change) {
    NetworkConfig config;
    change(config);
    auto made = NetworkManager::create(config);
    return made ? std::string("made") : made.error().message;
  };
  CHECK(create([](NetworkConfig&) {}) == "made");
  CHECK(create([](NetworkConfig& c) { c.bridge = "a-name-above-15"; }) == "made");
  CHECK(create([](NetworkConfig& c) { c.bridge = "a-name-above-15b"; }) ==
        "bridge name 'a-name-above-15b' is not valid");
  CHECK(create([](NetworkConfig& c) { c.bridge = "../x"; }) == "bridge name '../x' is not valid");
  CHECK(create([](NetworkConfig& c) { c.bridge = ""; }) == "bridge name '' is not valid");
  CHECK(create([](NetworkConfig& c) { c.table = "a b"; }) == "nftables table name 'a b' is not valid");
  CHECK(create([](NetworkConfig& c) { c.mtu = 67; }) == "mtu 67 is not between 68 and 65535");
  CHECK(create([](NetworkConfig& c) { c.bridge_address = "172.17.0.0/16"; }) != "made");
  CHECK(create([](NetworkConfig& c) { c.namespace_pool = -1; }) != "made");
}
