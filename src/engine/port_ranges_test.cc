// SPDX-License-Identifier: Apache-2.0
#include "engine/port_ranges.h"

#include <doctest/doctest.h>

namespace caisson::engine {

namespace {
spec::PortMap some(std::initializer_list<std::tuple<const char*, const char*, const char*>> entries) {
  spec::PortMap out;
  for (auto [port, address, host] : entries) {
    auto& list = out[port];
    if (!list) list.emplace();
    list->push_back({address, host});
  }
  return out;
}
bool same(const spec::PortMap& a, const spec::PortMap& b) {
  auto text = [](const spec::PortMap& map) {
    std::string out;
    for (const auto& [port, bindings] : map) {
      out += port + "=";
      if (!bindings) out += "null";
      for (const auto& binding : bindings.value_or(std::vector<spec::PortBinding>{}))
        out += binding.host_ip + ":" + binding.host_port + ",";
      out += ";";
    }
    return out;
  };
  CHECK(text(a) == text(b));
  return text(a) == text(b);
}
}  // namespace

TEST_CASE("port ranges: ports in a row with host ports in a row are one entry, and come back") {
  auto ports = some({{"8/tcp", "", "108"},
                     {"9/tcp", "", "109"},
                     {"10/tcp", "", "110"},
                     {"12/tcp", "", "112"},
                     {"10/udp", "", "110"},
                     {"11/udp", "", "111"}});
  auto before = ports;
  compress_ports(ports);
  CHECK(same(ports, some({{"8-10/tcp", "", "108-110"}, {"12/tcp", "", "112"}, {"10-11/udp", "", "110-111"}})));
  CHECK(same(expand_ports(ports), before));
  compress_ports(ports);  // once more changes nothing
  CHECK(ports.size() == 3);
}

TEST_CASE("port ranges: what is no row stays") {
  auto other_shift = some({{"1/tcp", "", "101"}, {"2/tcp", "", "103"}});
  auto other_address = some({{"1/tcp", "127.0.0.1", "101"}, {"2/tcp", "", "102"}});
  auto chosen = some({{"1/tcp", "", ""}, {"2/tcp", "", ""}});
  auto zero = some({{"1/tcp", "", "0"}, {"2/tcp", "", "1"}});
  auto any_of_several = some({{"1/tcp", "", "100-101"}, {"2/tcp", "", "102"}});
  auto two = some({{"1/tcp", "", "101"}, {"1/tcp", "", "201"}, {"2/tcp", "", "102"}});
  for (auto* ports : {&other_shift, &other_address, &chosen, &zero, &any_of_several, &two}) {
    auto before = *ports;
    compress_ports(*ports);
    CHECK(same(*ports, before));
  }
  spec::PortMap odd;
  odd["80/tcp"] = std::nullopt;
  odd["81/tcp"] = std::nullopt;
  odd["nonsense"] = std::nullopt;
  compress_ports(odd);
  CHECK(odd.size() == 3);
}

TEST_CASE("port ranges: several bindings of each port") {
  auto ports = some(
      {{"1/tcp", "::1", "101"}, {"1/tcp", "127.0.0.1", "201"}, {"2/tcp", "::1", "102"}, {"2/tcp", "127.0.0.1", "202"}});
  auto before = ports;
  compress_ports(ports);
  CHECK(same(ports, some({{"1-2/tcp", "::1", "101-102"}, {"1-2/tcp", "127.0.0.1", "201-202"}})));
  CHECK(same(expand_ports(ports), before));
}

TEST_CASE("port ranges: a key without protocol is tcp, and nothing overflows") {
  auto ports = some({{"65534", "", "65534"}, {"65535", "", "65535"}});
  compress_ports(ports);
  CHECK(same(ports, some({{"65534-65535/tcp", "", "65534-65535"}})));
}

TEST_CASE("port ranges: exposed ports") {
  spec::StringSet ports{{"9/tcp", {}}, {"10/tcp", {}}, {"11/tcp", {}}, {"11/udp", {}}};
  auto before = ports;
  compress_exposed(ports);
  CHECK(ports.size() == 2);
  CHECK(ports.contains("9-11/tcp"));
  CHECK(expand_exposed(ports).size() == before.size());
  CHECK(expand_exposed(ports).contains("10/tcp"));
}

TEST_CASE("port ranges: the form in a record") {
  network::PortMapping one{"tcp", 80, "0.0.0.0", 8080, 1}, many{"udp", 1000, "fd00::5", 2000, 10000};
  CHECK(port_text(one) == "tcp/80/0.0.0.0/8080");
  CHECK(port_text(many) == "udp/1000/fd00::5/2000/10000");
  for (const auto& port : {one, many}) CHECK(parse_port_text(port_text(port)) == port);
  for (const char* text : {"", "tcp/80/0.0.0.0", "tcp/80/0.0.0.0/99999", "tcp/80/0.0.0.0/80/0", "tcp/x/0.0.0.0/80"})
    CHECK(!parse_port_text(text));
  CHECK(part_of(many, 5, 2) == network::PortMapping{"udp", 1005, "fd00::5", 2005, 2});
}

}  // namespace caisson::engine
