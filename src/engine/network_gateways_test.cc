// SPDX-License-Identifier: Apache-2.0
#include "engine/network_gateways.h"

#include <doctest/doctest.h>

#include "engine/port_plan.h"

namespace caisson::engine {

TEST_CASE("gateways: each family has its own") {
  auto choice = choose_gateways({{"six", false, true, 0}, {"four", true, false, 0}});
  CHECK(choice.v4 == 1u);
  CHECK(choice.v6 == 0u);
  choice = choose_gateways({{"closed", false, false, 9}});
  CHECK(!choice.v4);
  CHECK(!choice.v6);
  CHECK(!choose_gateways({}).v4);
}

TEST_CASE("gateways: priority, then both families, then the name") {
  auto choice = choose_gateways({{"a", true, false, 0}, {"b", true, true, 0}});
  CHECK(choice.v4 == 1u);
  CHECK(choice.v6 == 1u);
  choice = choose_gateways({{"a", true, false, 5}, {"b", true, true, 0}});
  CHECK(choice.v4 == 0u);
  CHECK(choice.v6 == 1u);  // the one with the priority does not serve this family
  choice = choose_gateways({{"b", true, true, 0}, {"a", true, true, 0}, {"c", true, true, -1}});
  CHECK(choice.v4 == 1u);
  choice = choose_gateways({{"b", true, true, 0}, {"a", true, true, 0}, {"c", true, true, 1}});
  CHECK(choice.v6 == 2u);
}

TEST_CASE("gateways: ports of two endpoints") {
  std::vector<network::PortMapping> ports{
      {"tcp", 80, "", 8080, 1}, {"tcp", 81, "127.0.0.1", 81, 1}, {"udp", 53, "::1", 53, 1}};
  auto shares = share_ports(ports, "");
  REQUIRE(shares.v4.size() == 2);
  REQUIRE(shares.v6.size() == 2);
  CHECK(shares.v4[0].host_ip == "0.0.0.0");
  CHECK(shares.v6[0].host_ip == "::");
  CHECK(shares.v6[1].host_ip == "::1");
  shares = share_ports(ports, "192.0.2.1");
  CHECK(shares.v4[0].host_ip == "192.0.2.1");
  CHECK(shares.v6.size() == 1);
}

TEST_CASE("gateways: what was asked for is found from what is published") {
  ContainerRecord record;
  auto bind = [&](const char* port, const char* address, const char* number) {
    auto& list = record.host_config.port_bindings[port];
    if (!list) list.emplace();
    list->push_back({address, number});
  };
  bind("80/tcp", "", "");
  bind("81/tcp", "0.0.0.0", "81");
  bind("1000-1009/tcp", "", "2000-2009");
  auto asked = asked_form(record, {{"tcp", 80, "0.0.0.0", 32768, 1},
                                   {"tcp", 80, "::", 32768, 1},
                                   {"tcp", 81, "0.0.0.0", 81, 1},
                                   {"tcp", 1000, "0.0.0.0", 2000, 10}});
  REQUIRE(asked.size() == 3);
  CHECK(asked[0] == network::PortMapping{"tcp", 80, "", 32768, 1});
  CHECK(asked[1].host_ip == "0.0.0.0");
  CHECK(asked[2] == network::PortMapping{"tcp", 1000, "", 2000, 10});
  record.host_config.publish_all_ports = true;
  CHECK(asked_form(record, {{"udp", 5, "0.0.0.0", 40000, 1}})[0].host_ip == "");
}

}  // namespace caisson::engine
