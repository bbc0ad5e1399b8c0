// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <netinet/in.h>

#include "network/mac_address.h"
#include "network/network_manager.h"
#include "network/ports.h"
#include "network/subnet_plan.h"

using namespace caisson;
using namespace caisson::network;

TEST_CASE("mac addresses") {
  CHECK(format_mac(mac_of(*parse_ip("172.17.0.2"))) == "02:42:ac:11:00:02");
  CHECK(format_mac(*parse_mac("02:42:AC:11:00:fF")) == "02:42:ac:11:00:ff");
  for (const char* bad :
       {"", "02:42:ac:11:00", "02:42:ac:11:00:2", "02:42:ac:11:00:0g", "02-42-ac-11-00-02", "02:42:ac:11:00:02:03"})
    CHECK_MESSAGE(!parse_mac(bad), bad);
}

TEST_CASE("subnet plan: addresses of bridges") {
  CHECK(parse_gateway("172.17.0.1/16")->text() == "172.17.0.0/16");
  CHECK(parse_gateway("10.1.2.3/8")->text() == "10.0.0.0/8");
  CHECK(parse_gateway("fd00::1/64")->text() == "fd00::/64");
  for (const char* bad : {"", "172.17.0.1", "172.17.0.0/16", "172.17.255.255/16", "172.17.0.1/7", "172.17.0.1/31",
                          "172.17.0.1/x", "/16", "fd00::/64", "fd00::1/127", "fd00::1/8"})
    CHECK_MESSAGE(!parse_gateway(bad), bad);
  CHECK(parse_gateway("172.17.0.0/16").error().message ==
        "bridge address '172.17.0.0/16' is not the address of a host");
}

TEST_CASE("subnet plan: the subnet chosen overlaps nothing in use") {
  auto choose = [](std::vector<IpSubnet> used) {
    auto chosen = choose_subnet(false, used, default_blocks());
    return chosen ? chosen->address.text() + " " + chosen->text() : chosen.error().message;
  };
  auto net = [](const char* text, int prefix) { return IpSubnet{*parse_ip(text), prefix}; };
  CHECK(choose({}) == "172.17.0.1 172.17.0.0/16");
  CHECK(choose({net("172.17.200.1", 32)}) == "172.18.0.1 172.18.0.0/16");
  CHECK(choose({net("172.16.0.0", 14)}) == "172.20.0.1 172.20.0.0/16");
  CHECK(choose({net("10.0.0.0", 8), net("192.168.0.0", 16)}) == "172.17.0.1 172.17.0.0/16");
  CHECK(choose({net("172.16.0.0", 12)}) == "192.168.0.1 192.168.0.0/20");
  CHECK(choose({net("172.16.0.0", 12), net("192.168.1.0", 24), net("192.168.31.5", 32)}) ==
        "192.168.32.1 192.168.32.0/20");
  CHECK(choose({net("172.16.0.0", 12), net("192.168.0.0", 16)}) ==
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network");
}

namespace {
// What a mapping stands for, one word each.
std::string published(const PortMapping& mapping, const PublishContext& context) {
  auto ports = parse_mapping(mapping, context);
  if (!ports) return ports.error().message;
  std::string out;
  for (const auto& port : *ports) {
    out += (out.empty() ? "" : " ") + port.host() + ">" + port.container_address.text() + ":" +
           std::to_string(port.container_port) + "/" + protocol_name(port.protocol);
    if (port.count > 1) out += "x" + std::to_string(port.count);
    if (port.relayed()) out += ",relayed";
    if (port.routed) out += ",routed";
    if (port.direct) out += ",direct";
    if (port.same_as_before) out += ",same";
  }
  return out;
}
}  // namespace

TEST_CASE("ports: mappings of an endpoint with IPv4") {
  PublishContext context{parse_ip("172.17.0.2"), {}};
  CHECK(published({"udp", 53, "127.0.0.1", 5353}, context) == "127.0.0.1:5353>172.17.0.2:53/udp");
  CHECK(published({"", 80, "", 8080}, context) == "0.0.0.0:8080>172.17.0.2:80/tcp");
  CHECK(published({"sctp", 80, "0.0.0.0", 0}, context) == "0.0.0.0:0>172.17.0.2:80/sctp");
  CHECK(published({"tcp", 7000, "", 7000, 10}, context) == "0.0.0.0:7000>172.17.0.2:7000/tcpx10");
  CHECK(published({"tcp", 80, "::1", 1}, context) == "cannot publish on ::1: the container has no IPv6 address");
  CHECK(published({"tcp", 0, "", 1}, context) == "a published container port cannot be 0");
  CHECK(published({"tcp", 80, "host", 1}, context) == "host address 'host' is not an IP address");
  CHECK(published({"icmp", 80, "", 1}, context) == "publishing protocol 'icmp' is not supported");
  CHECK(published({"tcp", 65535, "", 1, 2}, context).ends_with("ends beyond 65535"));
  CHECK(published({"tcp", 1, "", 65535, 2}, context).ends_with("ends beyond 65535"));
  CHECK(published({"tcp", 80, "", 80, 0}, context).ends_with("ends beyond 65535"));
  CHECK(published({"tcp", 80, "", 0, 2}, context) == "a range of published ports needs a host port");
  context.relay = true;
  CHECK(published({"tcp", 80, "", 8080}, context) ==
        "0.0.0.0:8080>172.17.0.2:80/tcp [::]:8080>172.17.0.2:80/tcp,relayed,same");
  CHECK(published({"udp", 80, "::1", 8080}, context) == "[::1]:8080>172.17.0.2:80/udp,relayed");
  CHECK(published({"udp", 80, "", 8080, 65}, context) == "0.0.0.0:8080>172.17.0.2:80/udpx65");
  CHECK(published({"sctp", 80, "", 8080}, context) == "0.0.0.0:8080>172.17.0.2:80/sctp");
  context.host_ip = "127.0.0.1";
  CHECK(published({"tcp", 80, "", 8080}, context) == "127.0.0.1:8080>172.17.0.2:80/tcp");
  CHECK(published({"tcp", 80, "0.0.0.0", 8080}, context) == "0.0.0.0:8080>172.17.0.2:80/tcp");
}

TEST_CASE("ports: mappings of endpoints with IPv6") {
  PublishContext both{parse_ip("172.18.0.2"), parse_ip("fd00::2")};
  CHECK(published({"tcp", 80, "", 8080}, both) == "0.0.0.0:8080>172.18.0.2:80/tcp [::]:8080>fd00::2:80/tcp,same");
  CHECK(published({"tcp", 80, "::", 8080}, both) == "[::]:8080>fd00::2:80/tcp");
  both.mode6 = GatewayMode::kRouted;
  CHECK(published({"tcp", 80, "", 8080}, both) == "0.0.0.0:8080>172.18.0.2:80/tcp [::]:8080>fd00::2:80/tcp,routed");
  both.trusted = true;
  CHECK(published({"tcp", 80, "0.0.0.0", 8080}, both) == "0.0.0.0:8080>172.18.0.2:80/tcp,direct");
  PublishContext six{{}, parse_ip("fd00::2")};
  CHECK(published({"tcp", 80, "", 8080}, six) == "[::]:8080>fd00::2:80/tcp");
  CHECK(published({"tcp", 80, "127.0.0.1", 1}, six) ==
        "cannot publish on 127.0.0.1: the container has no IPv4 address");
  CHECK(published({"tcp", 80, "", 8080}, {}) == "cannot publish ports: the container has no address");
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
  CHECK(create([](NetworkConfig& c) { c.bridge_address6 = "172.17.0.1/16"; }).ends_with("is not of IPv6"));
  CHECK(create([](NetworkConfig& c) { c.bridge_address = "172.17.0.1/16", c.fixed_cidr = "172.18.0.0/24"; }) ==
        "the fixed range 172.18.0.0/24 is not in the bridge's subnet");
  CHECK(create([](NetworkConfig& c) { c.fixed_cidr6 = "fd00::/80"; }) == "made");
  CHECK(create([](NetworkConfig& c) { c.host_ip = "here"; }) == "host address 'here' is not an IP address");
  CHECK(create([](NetworkConfig& c) { c.blocks = {{"10.0.0.0/8", 31}}; }) != "made");
}
