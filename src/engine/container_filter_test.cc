// SPDX-License-Identifier: Apache-2.0
#include "engine/container_filter.h"

#include <doctest/doctest.h>

#include "engine/prune.h"

using namespace caisson;
using namespace caisson::engine;

namespace {
ContainerRecord filter_sample() {
  ContainerRecord record;
  record.id = std::string(64, 'a');
  record.name = "web";
  record.created_ns = 1000000000;
  record.image_id = "sha256:" + std::string(64, 'b');
  record.config.labels["tier"] = "web";
  record.config.exposed_ports["53/udp"] = {};
  record.host_config.port_bindings["80/tcp"] = std::nullopt;
  record.host_config.network_mode = "bridge";
  record.mounts.push_back({.type = "volume", .name = "data", .source = "/v/data", .destination = "/data"});
  return record;
}
}  // namespace

TEST_CASE("filters of the container list") {
  auto record = filter_sample();
  auto matches = [&](const char* text) {
    auto filter = ContainerFilter::parse(text);
    REQUIRE(filter);
    return filter->matches(record);
  };
  for (const char* good : {R"({"name": ["we"]})",
                           R"({"name": {"we": true}})",
                           R"({"name": ["^/web$"]})",
                           R"({"name": ["^web$"]})",
                           R"({"name": ["w.b|x"]})",
                           R"({"status": ["created", "exited"]})",
                           R"({"label": ["tier=web"]})",
                           R"({"label": ["tier"]})",
                           R"({"id": ["aaa"]})",
                           R"({"publish": ["80"]})",
                           R"({"publish": ["70-90/tcp"]})",
                           R"({"expose": ["53/udp"]})",
                           R"({"network": ["bridge"]})",
                           R"({"volume": ["data"]})",
                           R"({"volume": ["/data"]})",
                           R"({"health": ["none"]})",
                           R"({"is-task": ["false"]})",
                           R"({"isolation": ["default"]})",
                           R"({"name": []})",
                           ""}) {
    CAPTURE(good);
    CHECK(matches(good));
  }
  for (const char* other :
       {R"({"name": ["other"]})", R"({"name": ["^eb"]})", R"({"status": ["running"]})", R"({"label": ["tier=db"]})",
        R"({"label": ["tier", "x"]})", R"({"publish": ["81"]})", R"({"publish": ["80/udp"]})", R"({"expose": ["53"]})",
        R"({"network": ["host"]})", R"({"volume": ["/v/data"]})", R"({"health": ["healthy"]})", R"({"is-task": ["1"]})",
        R"({"ancestor": ["busybox"]})", R"({"exited": ["0"]})"}) {
    CAPTURE(other);
    CHECK(!matches(other));
  }
}

TEST_CASE("filters that are none") {
  for (const char* bad : {"[", R"({"nope": ["x"]})", R"({"status": ["odd"]})", R"({"exited": ["x"]})", R"({"name": 3})",
                          R"({"is-task": ["maybe"]})", R"({"health": ["odd"]})", R"({"publish": ["1:2"]})",
                          R"({"expose": ["x"]})", R"({"publish": ["9-1"]})"}) {
    CAPTURE(bad);
    auto parsed = ContainerFilter::parse(bad);
    REQUIRE(!parsed);
    CHECK(parsed.error().kind == ErrorKind::kInvalid);
  }
  CHECK(ContainerFilter::parse(R"({"status": ["odd"]})").error().message == "invalid filter 'status=odd'");
}

TEST_CASE("a pattern that would take all memory is plain text") {
  CHECK(!text_matches("aaaa", "((a{1,255}){1,255}){1,255}"));
  CHECK(text_matches("x[y", "[y"));
  CHECK(!text_matches("aa", "(a)\\1"));
}

TEST_CASE("times of until") {
  constexpr int64_t kSecond = 1'000'000'000, kNow = 1'700'000'000 * kSecond;
  auto ago = [&](const char* text) { return (kNow - parse_until(text, kNow).value_or(-1)) / kSecond; };
  CHECK(ago("10m") == 600);
  CHECK(ago("1h30m") == 5400);
  CHECK(ago("1.5s") == 1);
  CHECK(ago("24h") == 86400);
  CHECK(parse_until("1600000000", kNow) == 1'600'000'000 * kSecond);
  CHECK(parse_until("1600000000.5", kNow) == 1'600'000'000 * kSecond + kSecond / 2);
  CHECK(parse_until("2020-09-13T12:26:40Z", kNow) == 1'600'000'000 * kSecond);
  CHECK(parse_until("2020-09-13T12:26:40", kNow) == 1'600'000'000 * kSecond);
  CHECK(parse_until("2020-09-13", kNow).value_or(0) == 1599955200 * kSecond);
  for (const char* bad : {"", "x", "10", "10x", "-5m", "1..2s", "99999999999999999999h", "2020-99-99"}) {
    CAPTURE(bad);
    if (std::string(bad) != "10") CHECK(!parse_until(bad, kNow));
  }
}

TEST_CASE("prune filters") {
  auto record = filter_sample();
  auto matches = [&](const char* text) {
    auto filter = PruneFilter::parse(text, 3'000'000'000);
    REQUIRE(filter);
    return filter->matches(record);
  };
  CHECK(matches(""));
  CHECK(matches(R"({"label": ["tier"]})"));
  CHECK(!matches(R"({"label!": ["tier=web"]})"));
  CHECK(matches(R"({"label!": ["tier=db"]})"));
  CHECK(matches(R"({"until": ["1s"]})"));
  CHECK(!matches(R"({"until": ["1m"]})"));
  CHECK(!PruneFilter::parse(R"({"until": ["1s", "2s"]})", 0));
  CHECK(!PruneFilter::parse(R"({"name": ["x"]})", 0));
}
