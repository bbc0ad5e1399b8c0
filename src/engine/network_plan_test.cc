// SPDX-License-Identifier: Apache-2.0
#include "engine/network_plan.h"

#include <doctest/doctest.h>

namespace caisson::engine {

namespace {
spec::NetworkIpam ipam_of(std::vector<spec::NetworkIpamConfig> configs) {
  spec::NetworkIpam ipam;
  ipam.config = std::move(configs);
  return ipam;
}
std::string problem(const spec::NetworkIpam& ipam, NetworkFamilies families = {true, true}) {
  auto checked = check_ipam(ipam, families);
  return checked ? "" : checked.error().message;
}
bool has(const std::string& text, const char* words) { return text.find(words) != std::string::npos; }

Result<network::NetworkSpec> spec_with(const char* key, const char* value, bool internal = false) {
  NetworkRecord record;
  record.id = "0123456789abcdef";
  record.internal = internal;
  record.options[key] = value;
  return network_spec_of(record);
}
}  // namespace

TEST_CASE("network plan: families by members and by options") {
  spec::NetworkCreate request;
  auto families = families_of(request, {});
  CHECK((families && families->v4 && !families->v6));
  families =
      families_of(request, {{"com.docker.network.enable_ipv6", "true"}, {"com.docker.network.enable_ipv4", "0"}});
  CHECK((families && !families->v4 && families->v6));
  request.enable_ipv6 = false;  // the member counts more
  CHECK(!families_of(request, {{"com.docker.network.enable_ipv6", "true"}, {"com.docker.network.enable_ipv4", "0"}}));
  CHECK(!families_of(request, {{"com.docker.network.enable_ipv4", "maybe"}}));
  request.enable_ipv4 = false;
  families = families_of(request, {});
  REQUIRE(!families);
  CHECK(families.error().message == "IPv4 or IPv6 must be enabled");
  CHECK(families.error().kind == ErrorKind::kInvalid);
}

TEST_CASE("network plan: subnets of both families, one of each") {
  CHECK(problem(ipam_of({{"10.1.0.0/24", "10.1.0.128/25", "10.1.0.1", {{"a", "10.1.0.2"}}},
                         {"fd00:1::/64", "fd00:1::100/120", "fd00:1::1", {{"b", "fd00:1::2"}}}})) == "");
  CHECK(has(problem(ipam_of({{"10.1.0.0/24", "", "", {}}, {"10.2.0.0/24", "", "", {}}})), "one IPv4 subnet, not 2"));
  CHECK(has(problem(ipam_of({{"fd00:1::/64", "", "", {}}, {"fd00:2::/64", "", "", {}}})), "one IPv6 subnet, not 2"));
  CHECK(has(problem(ipam_of({{"fd00:1::5/64", "", "", {}}})), "it should be fd00:1::/64"));
  CHECK(has(problem(ipam_of({{"fd00:1::/64", "", "10.0.0.1", {}}})), "parent subnet is an IPv6 block"));
  CHECK(has(problem(ipam_of({{"10.1.0.0/24", "", "fd00::1", {}}})), "parent subnet is an IPv4 block"));
  CHECK(has(problem(ipam_of({{"fd00:1::/64", "", "fd00:2::1", {}}})), "does not contain this address"));
  CHECK(has(problem(ipam_of({{"fd00:1::/64", "fd00:2::/80", "", {}}})), "not in the subnet"));
  CHECK(has(problem(ipam_of({{"nonsense", "", "", {}}})), "invalid subnet nonsense"));
  CHECK(has(problem(ipam_of({{"", "", "10.0.0.1", {}}})), "without a subnet"));
  // All of it at once.
  CHECK(has(problem(ipam_of({{"fd00:1::5/64", "", "10.0.0.1", {}}})), "\ninvalid gateway"));
  // Not of a family that the network has not.
  CHECK(problem(ipam_of({{"fd00:1::5/64", "", "", {}}}), {true, false}) == "");
}

TEST_CASE("network plan: what the manager is told") {
  NetworkRecord record;
  record.id = "0123456789abcdef";
  record.enable_ipv6 = true;
  record.ipam = ipam_of(
      {{"fd00:1::/64", "fd00:1::100/120", "fd00:1::1", {{"b", "fd00:1::2"}}}, {"10.1.0.0/24", "", "10.1.0.1", {}}});
  auto spec = network_spec_of(record);
  REQUIRE(spec);
  CHECK(spec->bridge == "br-0123456789ab");
  CHECK(spec->v4.subnet == "10.1.0.0/24");
  CHECK(spec->v6.gateway == "fd00:1::1");
  CHECK(spec->v6.range == "fd00:1::100/120");
  CHECK(spec->v6.reserved == std::vector<std::string>{"fd00:1::2"});
  note_addresses(record, *spec);
  REQUIRE(record.ipam.config.size() == 2);
  CHECK(record.ipam.config[0].subnet == "10.1.0.0/24");
  CHECK(record.ipam.config[1].ip_range == "fd00:1::100/120");
  record.enable_ipv4 = false;
  spec = network_spec_of(record);
  REQUIRE(spec);
  CHECK(!spec->v4.enabled);
  CHECK(spec->v4.subnet.empty());
  spec->v6.subnet = "fd00:2::/64";
  note_addresses(record, *spec);
  REQUIRE(record.ipam.config.size() == 1);
  CHECK(record.ipam.config[0].subnet == "fd00:2::/64");
}

TEST_CASE("network plan: options") {
  using network::GatewayMode;
  CHECK(spec_with("com.docker.network.bridge.gateway_mode_ipv6", "routed")->v6.mode == GatewayMode::kRouted);
  CHECK(spec_with("com.docker.network.bridge.gateway_mode_ipv4", "nat-unprotected")->v4.mode ==
        GatewayMode::kNatUnprotected);
  CHECK(spec_with("com.docker.network.bridge.gateway_mode_ipv4", "isolated", true)->v4.mode == GatewayMode::kIsolated);
  CHECK(spec_with("com.docker.network.bridge.gateway_mode_ipv4", "isolated").error().message ==
        "gateway mode 'isolated' can only be used for an internal network");
  CHECK(spec_with("com.docker.network.bridge.inhibit_ipv4", "true")->bridge_without_address);
  CHECK(!spec_with("com.docker.network.bridge.enable_icc", "false")->icc);
  CHECK(!spec_with("com.docker.network.bridge.enable_ip_masquerade", "0")->masquerade);
  CHECK(spec_with("com.docker.network.bridge.host_binding_ipv4", "127.0.0.1")->host_ip == "127.0.0.1");
  CHECK(spec_with("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0")->host_ip == "");
  CHECK(spec_with("com.docker.network.host_ipv4", "192.0.2.7")->v4.source == "192.0.2.7");
  CHECK(spec_with("com.docker.network.host_ipv6", "2001:db8::7")->v6.source == "2001:db8::7");
  CHECK(spec_with("com.docker.network.driver.mtu", "1400")->mtu == 1400);
  CHECK(spec_with("com.docker.network.bridge.trusted_host_interfaces", "eth1:wg0")->trusted_interfaces.size() == 2);
  CHECK(spec_with("com.docker.network.bridge.name", "mybridge")->bridge == "mybridge");
  CHECK(spec_with("org.example.whatever", "x"));
}

TEST_CASE("network plan: bad values of options name the option") {
  constexpr const char* kBad[][2] = {{"com.docker.network.bridge.gateway_mode_ipv4", "open"},
                                     {"com.docker.network.bridge.enable_icc", "maybe"},
                                     {"com.docker.network.bridge.inhibit_ipv4", "2"},
                                     {"com.docker.network.driver.mtu", "-5"},
                                     {"com.docker.network.driver.mtu", "70000"},
                                     {"com.docker.network.bridge.host_binding_ipv4", "x"},
                                     {"com.docker.network.host_ipv4", "fd00::1"},
                                     {"com.docker.network.host_ipv6", "10.0.0.1"},
                                     {"com.docker.network.bridge.name", "much-too-long-name"},
                                     {"com.docker.network.bridge.name", "a/b"},
                                     {"com.docker.network.container_iface_prefix", "a b"},
                                     {"com.docker.network.container_iface_prefix", "fourteenchars1"},
                                     {"com.docker.network.bridge.trusted_host_interfaces", "eth0::eth1"}};
  for (auto [key, value] : kBad) {
    CAPTURE(key);
    auto spec = spec_with(key, value);
    REQUIRE(!spec);
    CHECK(spec.error().kind == ErrorKind::kInvalid);
    CHECK(has(spec.error().message, key));
  }
}

TEST_CASE("network plan: addresses that containers ask for") {
  NetworkRecord record;
  record.name = "own";
  record.enable_ipv6 = record.own_subnet = true;
  record.ipam = ipam_of({{"10.1.0.0/24", "", "", {}}, {"fd00:1::/64", "", "", {}}});
  auto why = [&](const char* four, const char* six) {
    spec::EndpointSettings settings;
    settings.ipam_config.emplace();
    settings.ipam_config->ipv4_address = four;
    settings.ipam_config->ipv6_address = six;
    auto checked = check_endpoint_addresses(record, settings);
    return checked ? "" : checked.error().message;
  };
  CHECK(why("", "") == "");
  CHECK(why("10.1.0.7", "") == "");
  CHECK(has(why("10.2.0.7", ""), "no configured subnet contains IP address 10.2.0.7"));
  CHECK(has(why("fd00:1::7", ""), "invalid IPv4 address"));
  CHECK(has(why("", "fd00:1::7"), "user configured subnets"));
  record.own_subnet6 = true;
  CHECK(why("10.1.0.7", "fd00:1::7") == "");
  CHECK(has(why("", "fd00:2::7"), "no configured subnet"));
  record.enable_ipv6 = false;
  CHECK(has(why("", "fd00:1::7"), "has no IPv6 addresses"));
  record.name = "bridge";
  CHECK(has(why("10.1.0.7", ""), "user defined networks only"));
}

TEST_CASE("network plan: names of interfaces") {
  NetworkRecord record;
  CHECK(interface_prefix(record) == "eth");
  record.options["com.docker.network.container_iface_prefix"] = "dmz";
  CHECK(interface_prefix(record) == "dmz");
}

TEST_CASE("network plan: limits of bandwidth") {
  auto rate = [](const std::string& text) {
    auto options = endpoint_options_of({{"com.caisson.network.limit.egress", text}});
    return options ? std::to_string(options->limit_out) : options.error().message;
  };
  CHECK(rate("8000") == "8000");
  CHECK(rate("500kbit") == "500000");
  CHECK(rate("10Mbit") == "10000000");
  CHECK(rate("2.5gbit") == "2500000000");
  CHECK(rate("1.024mbit") == "1024000");
  CHECK(rate("0.008mbit") == "8000");
  CHECK(rate("1000gbit") == "1000000000000");
  CHECK(rate("").starts_with("0"));
  for (const char* text : {"1000000000001", "1000.001gbit", "18446744073709551616", "99999999999999999999gbit"})
    CHECK(has(rate(text), "failed to parse com.caisson.network.limit.egress value"));
  for (const char* text : {"x", "1x", "mbit", ".", ".5mbit", "1..5mbit", "1.0000mbit", "-1mbit", "+1mbit", " 1mbit",
                           "1 mbit", "1e9", "10mb", "10mbit\n", "0", "7999", "0.5kbit"})
    CHECK_MESSAGE(has(rate(text), "failed to parse"), text);
  auto both = endpoint_options_of({{"com.caisson.network.limit.ingress", "1mbit"},
                                   {"com.docker.network.endpoint.ifname", "dmz0"},
                                   {"com.docker.network.endpoint.sysctls", "a=1, b=2"},
                                   {"else", "x"}});
  REQUIRE(both);
  CHECK(both->limit_in == 1000000);
  CHECK(both->limit_out == 0);
  CHECK(both->interface == "dmz0");
  CHECK(both->sysctls == std::vector<std::string>{"a=1", "b=2"});
}

}  // namespace caisson::engine
