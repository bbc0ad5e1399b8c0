// SPDX-License-Identifier: Apache-2.0
#include "dns/zones.h"

#include <doctest/doctest.h>

#include "dns/answer.h"
#include "wire/dns_control.h"

using namespace caisson;
using namespace caisson::dns;

namespace {

EndpointNames endpoint(const char* network, const char* id, const char* name, std::vector<std::string> aliases,
                       std::vector<std::string> addresses) {
  return {.network_id = std::string("id-") + network,
          .network_name = network,
          .id = id,
          .name = name,
          .aliases = std::move(aliases),
          .addresses = std::move(addresses)};
}

View view_of(std::vector<View::Network> networks) { return {std::move(networks)}; }

std::string found(const Zones& zones, const View& view, std::string_view name) {
  auto addresses = zones.find(view, name);
  if (!addresses) return "unknown";
  std::string out;
  for (const auto& address : *addresses) out += (out.empty() ? "" : " ") + format_address(address);
  return out;
}

}  // namespace

TEST_CASE("dns zones: name, alias, short id, name.network, whatever the case they were given in") {
  Zones zones;
  REQUIRE(zones.put(endpoint("Front", "e1", "Web", {"www", "0123456789ab"}, {"172.18.0.2", "fd00::2"}), 1));
  View view = view_of({{"id-Front", {}}});
  for (const char* name : {"web", "www", "0123456789ab", "web.front", "www.front"})
    CHECK(found(zones, view, name) == "172.18.0.2 fd00::2");
  for (const char* name : {"", "we", "web.back", "front", "web.front.front", ".web", "web.", "."})
    CHECK(found(zones, view, name) == "unknown");
  CHECK(zones.find_reverse(view, *parse_address("172.18.0.2")) == "Web.Front");
  CHECK(zones.find_reverse(view, *parse_address("fd00::2")) == "Web.Front");
  CHECK_FALSE(zones.find_reverse(view, *parse_address("172.18.0.3")));
}

TEST_CASE("dns zones: a container sees its own networks only, in their order") {
  Zones zones;
  REQUIRE(zones.put(endpoint("front", "e1", "web", {}, {"172.18.0.2"}), 1));
  REQUIRE(zones.put(endpoint("back", "e2", "web", {}, {"172.19.0.2"}), 1));
  CHECK(found(zones, view_of({{"id-front", {}}, {"id-back", {}}}), "web") == "172.18.0.2");
  CHECK(found(zones, view_of({{"id-back", {}}, {"id-front", {}}}), "web") == "172.19.0.2");
  CHECK(found(zones, view_of({{"id-front", {}}, {"id-back", {}}}), "web.back") == "172.19.0.2");
  CHECK(found(zones, view_of({{"id-front", {}}}), "web.back") == "unknown");
  CHECK(found(zones, view_of({{"id-other", {}}}), "web") == "unknown");
}

TEST_CASE("dns zones: names with dots; the longest name wins") {
  Zones zones;
  REQUIRE(zones.put(endpoint("c", "e1", "a.b", {}, {"10.0.0.1"}), 1));
  REQUIRE(zones.put(endpoint("b.c", "e2", "a", {}, {"10.0.0.2"}), 1));
  REQUIRE(zones.put(endpoint("b.c", "e3", "a.x", {}, {"10.0.0.3"}), 1));
  View view = view_of({{"id-b.c", {}}, {"id-c", {}}});
  CHECK(found(zones, view, "a.b") == "10.0.0.1");
  CHECK(found(zones, view, "a.b.c") == "10.0.0.1");
  CHECK(found(zones, view, "a.x.b.c") == "10.0.0.3");
  zones.remove("id-c", "e1");
  CHECK(found(zones, view, "a.b.c") == "10.0.0.2");
  REQUIRE(zones.put(endpoint("c", "e4", "a.b.c", {}, {"10.0.0.4"}), 1));
  CHECK(found(zones, view, "a.b.c") == "10.0.0.4");
}

TEST_CASE("dns zones: one alias of several containers, and of one twice") {
  Zones zones;
  REQUIRE(zones.put(endpoint("n", "e1", "a1", {"app", "APP"}, {"10.0.0.1"}), 1));
  REQUIRE(zones.put(endpoint("n", "e2", "a2", {"app"}, {"10.0.0.2", "10.0.0.2"}), 1));
  View view = view_of({{"id-n", {}}});
  CHECK(found(zones, view, "app") == "10.0.0.1 10.0.0.2");
  zones.remove("id-n", "e1");
  CHECK(found(zones, view, "app") == "10.0.0.2");
  CHECK(found(zones, view, "a1") == "unknown");
  // Again for the same id: replaced as a whole.
  REQUIRE(zones.put(endpoint("n", "e2", "a2", {"other"}, {"10.0.0.9"}), 1));
  CHECK(found(zones, view, "app") == "unknown");
  CHECK(found(zones, view, "other") == "10.0.0.9");
  CHECK_FALSE(zones.find_reverse(view, *parse_address("10.0.0.2")));
  CHECK(zones.endpoints() == 1);
}

TEST_CASE("dns zones: links are names of one container alone, follow their target, and hide a neighbour") {
  Zones zones;
  REQUIRE(zones.put(endpoint("n", "e1", "mysql-1", {}, {"10.0.0.1"}), 1));
  REQUIRE(zones.put(endpoint("n", "e2", "db", {}, {"10.0.0.2"}), 1));
  View linked = view_of({{"id-n", {{"db", "mysql-1"}, {"gone", "nobody"}}}}), plain = view_of({{"id-n", {}}});
  CHECK(found(zones, linked, "db") == "10.0.0.1");
  CHECK(found(zones, linked, "db.n") == "10.0.0.1");
  CHECK(found(zones, plain, "db") == "10.0.0.2");
  CHECK(found(zones, linked, "gone") == "unknown");
  REQUIRE(zones.put(endpoint("n", "e1", "mysql-1", {}, {"10.0.0.7"}), 1));
  CHECK(found(zones, linked, "db") == "10.0.0.7");
  zones.remove("id-n", "e1");
  CHECK(found(zones, linked, "db") == "unknown");
}

TEST_CASE("dns zones: limits and wrong values change nothing") {
  Zones zones;
  View view = view_of({{"id-n", {}}});
  REQUIRE(zones.put(endpoint("n", "e1", "web", {}, {"10.0.0.1"}), 1));
  CHECK(zones.put(endpoint("n", "e1", "web", {}, {"10.0.0"}), 1).error().message ==
        "address '10.0.0': neither IPv4 nor IPv6");
  CHECK(zones.put(endpoint("n", "e1", "", {}, {}), 1).error().kind == ErrorKind::kInvalid);
  CHECK(zones.put(endpoint("n", "e1", "web", {std::string(254, 'a')}, {}), 1).error().kind == ErrorKind::kInvalid);
  CHECK(zones.put(endpoint("n", "e1", "web", std::vector<std::string>(kMaxAliases + 1, "a"), {}), 1).error().kind ==
        ErrorKind::kExhausted);
  CHECK(zones.put(endpoint("n", "e1", "web", {}, std::vector<std::string>(kMaxAddresses + 1, "::1")), 1).error().kind ==
        ErrorKind::kExhausted);
  CHECK(found(zones, view, "web") == "10.0.0.1");
}

TEST_CASE("dns zones: what an engine did not repeat is dropped") {
  Zones zones;
  REQUIRE(zones.put(endpoint("n", "e1", "old", {}, {"10.0.0.1"}), 1));
  REQUIRE(zones.put(endpoint("m", "e2", "other", {}, {"10.0.1.1"}), 1));
  REQUIRE(zones.put(endpoint("n", "e3", "new", {}, {"10.0.0.3"}), 2));
  zones.drop_others(2);
  View view = view_of({{"id-n", {}}, {"id-m", {}}});
  CHECK(found(zones, view, "old") == "unknown");
  CHECK(found(zones, view, "other") == "unknown");
  CHECK(found(zones, view, "new") == "10.0.0.3");
  CHECK(zones.endpoints() == 1);
}

TEST_CASE("dns: several addresses are given in every order, each first about as often") {
  std::vector<Address> addresses{*parse_address("10.0.0.1"), *parse_address("10.0.0.2"), *parse_address("10.0.0.3")};
  Shuffler shuffler(42);
  std::map<Address, int> first;
  for (int i = 0; i < 3000; ++i) {
    auto order = addresses;
    shuffler.shuffle(order);
    REQUIRE(order.size() == 3);
    ++first[order[0]];
  }
  REQUIRE(first.size() == 3);
  for (auto& [address, count] : first) CHECK(count > 800);
}
