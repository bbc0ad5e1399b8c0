// SPDX-License-Identifier: Apache-2.0
#include "dns/answer.h"

#include <doctest/doctest.h>

#include "dns/test_messages.h"

using namespace caisson::dns;
using namespace caisson::dns::test;

namespace {

struct Setup {
  Zones zones;
  View view{{{.id = "n1", .links = {}}}};
  AnswerRules rules;
  Shuffler shuffler{1};

  Setup() {
    REQUIRE(zones.put({"n1", "front", "e1", "web", {"www"}, {"172.18.0.2", "fd00::2"}}, 1));
    REQUIRE(zones.put({"n1", "front", "e2", "four", {}, {"172.18.0.3"}}, 1));
  }
  std::optional<std::string> ask(std::string_view name, unsigned type, size_t limit = 512) {
    return answer_locally(zones, view, query(name, type), rules, limit, shuffler);
  }
};

}  // namespace

TEST_CASE("dns answer: A, AAAA, ANY and nothing for the other types of a name of ours") {
  Setup setup;
  CHECK(addresses(*setup.ask("WEB", kTypeA)) == "172.18.0.2");
  CHECK(addresses(*setup.ask("www.front", kTypeAaaa)) == "fd00::2");
  CHECK(answer_count(*setup.ask("web", kTypeAny)) == 2);
  for (unsigned type : {15U, 16U, 33U, 65U}) {
    REQUIRE(setup.ask("web", type));
    CHECK(answer_count(*setup.ask("web", type)) == 0);
    CHECK(code_of(*setup.ask("web", type)) == Code::kNoError);
  }
  // The name exists: asking elsewhere for its IPv6 address would tell strangers of it, and take time.
  REQUIRE(setup.ask("four", kTypeAaaa));
  CHECK(answer_count(*setup.ask("four", kTypeAaaa)) == 0);
  CHECK(code_of(*setup.ask("four", kTypeAaaa)) == Code::kNoError);
}

TEST_CASE("dns answer: reverse names of ours, others go on") {
  Setup setup;
  CHECK(pointer(*setup.ask("2.0.18.172.in-addr.arpa", kTypePtr)) == "web.front");
  CHECK_FALSE(setup.ask("9.0.18.172.in-addr.arpa", kTypePtr));
  CHECK_FALSE(setup.ask("example.com", kTypePtr));
}

TEST_CASE("dns answer: unknown names go on, of one label too unless ndots was set") {
  Setup setup;
  CHECK_FALSE(setup.ask("other", kTypeA));
  CHECK_FALSE(setup.ask("www.example.com", kTypeA));
  setup.rules.ndots_set = true;
  REQUIRE(setup.ask("other", kTypeA));
  CHECK(answer_count(*setup.ask("other", kTypeA)) == 0);
  CHECK_FALSE(setup.ask("other", 16));
  CHECK_FALSE(setup.ask("www.example.com", kTypeA));
}

TEST_CASE("dns answer: other classes, zone transfers and later EDNS versions are refused") {
  Setup setup;
  Query chaos = query("version.bind", 16);
  chaos.record_class = 3;
  CHECK(code_of(*answer_locally(setup.zones, setup.view, chaos, {}, 512, setup.shuffler)) == Code::kRefused);
  CHECK(code_of(*setup.ask("web", 252)) == Code::kRefused);
  CHECK(code_of(*setup.ask("example.com", 252)) == Code::kRefused);
  Query later = query("web", kTypeA);
  later.edns = true;
  later.edns_version = 1;
  auto reply = answer_locally(setup.zones, setup.view, later, {}, 512, setup.shuffler);
  REQUIRE(reply);
  CHECK(answer_count(*reply) == 0);
}

TEST_CASE("dns answer: more addresses than fit are told by the TC bit, over TCP all come") {
  Setup setup;
  for (int i = 0; i < 60; ++i) {
    std::string number = std::to_string(i);
    REQUIRE(setup.zones.put({"n1", "front", "s" + number, "s" + number, {"app"}, {"10.0.0." + number}}, 1));
  }
  auto cut = setup.ask("app", kTypeA);
  CHECK(cut->size() <= 512);
  CHECK(truncated(*cut));
  auto whole = setup.ask("app", kTypeA, kMaxTcpSize);
  CHECK_FALSE(truncated(*whole));
  CHECK(answer_count(*whole) == 60);
}
