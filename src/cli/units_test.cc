// SPDX-License-Identifier: Apache-2.0
#include "cli/units.h"

#include <doctest/doctest.h>

#include "cli/json_value.h"
#include "cli/table.h"

using namespace caisson;
using namespace caisson::cli;

TEST_CASE("units: sizes read and written") {
  CHECK(*parse_bytes("512") == 512);
  CHECK(*parse_bytes("512b") == 512);
  CHECK(*parse_bytes("1k") == 1024);
  CHECK(*parse_bytes("1.5g") == 1610612736);
  CHECK(*parse_bytes("64MB") == 64 << 20);
  CHECK(*parse_bytes("64 MiB") == 64 << 20);
  for (const char* bad : {"", "abc", "-1", "1x", "1kk", "1.2.3", "k", "99999999999999999999p"}) {
    CAPTURE(bad);
    CHECK(!parse_bytes(bad));
  }
  CHECK(human_size(0) == "0B");
  CHECK(human_size(999) == "999B");
  CHECK(human_size(4261550) == "4.262MB");
  CHECK(human_size(4261550, 3) == "4.26MB");
  CHECK(human_size(1000) == "1kB");
  CHECK(human_size(123456789012) == "123.5GB");
  CHECK(human_size_binary(8222334455) == "7.658GiB");
}

TEST_CASE("units: CPUs and durations") {
  CHECK(*parse_nano_cpus("1.5") == 1500000000);
  CHECK(*parse_nano_cpus("0.001") == 1000000);
  CHECK(parse_nano_cpus("abc").error().message == "failed to parse abc as a rational number");
  CHECK(parse_nano_cpus("0.0000000001").error().message == "value is too precise");
  CHECK(*parse_duration("1h2m3.5s") == 3723500000000);
  CHECK(*parse_duration("300ms") == 300000000);
  CHECK(*parse_duration("-1s") == -1000000000);
  CHECK(*parse_duration("0") == 0);
  CHECK(parse_duration("abc").error().message == "time: invalid duration \"abc\"");
  CHECK(parse_duration("5").error().message == "time: missing unit in duration \"5\"");
  CHECK(parse_duration("5x").error().message == "time: unknown unit \"x\" in duration \"5x\"");
  CHECK(go_duration(0) == "0s");
  CHECK(go_duration(1500000000) == "1.5s");
  CHECK(go_duration(3723000000000) == "1h2m3s");
  CHECK(go_duration(300000000) == "300ms");
}

TEST_CASE("units: ages") {
  struct Case {
    int64_t seconds;
    const char* want;
  };
  const Case cases[] = {{0, "Less than a second"}, {1, "1 second"},          {59, "59 seconds"},
                        {60, "About a minute"},    {119, "About a minute"},  {120, "2 minutes"},
                        {3540, "59 minutes"},      {3600, "About an hour"},  {7200, "2 hours"},
                        {3600 * 47, "47 hours"},   {3600 * 48, "2 days"},    {86400 * 13, "13 days"},
                        {86400 * 14, "2 weeks"},   {86400 * 60, "2 months"}, {86400 * 365 * 2, "2 years"}};
  for (const Case& c : cases) {
    CAPTURE(c.seconds);
    CHECK(human_duration(c.seconds) == c.want);
  }
}

TEST_CASE("units: Go's numbers, booleans and quoting") {
  CHECK(*parse_go_int("010") == 8);
  CHECK(*parse_go_int("0x1f") == 31);
  CHECK(*parse_go_int("-5") == -5);
  CHECK(*parse_go_int("0") == 0);
  CHECK(!parse_go_int("1.5"));
  CHECK(!parse_go_int(""));
  CHECK(!parse_go_int("9223372036854775808"));
  CHECK(*parse_bool("T"));
  CHECK(!parse_bool("yes"));
  CHECK(go_quote("a\"b\n") == "\"a\\\"b\\n\"");
}

TEST_CASE("units: timestamps for the API") {
  constexpr int64_t kNow = 1000000000000;  // 1000 s
  CHECK(*timestamp_param("10s", kNow) == "990.000000000");
  CHECK(*timestamp_param("1234.5", kNow) == "1234.5");
  CHECK(*timestamp_param("1970-01-01T00:01:00Z", kNow) == "60.000000000");
  CHECK(*timestamp_param("1970-01-01T01:01:00+01:00", kNow) == "60.000000000");
  CHECK(!timestamp_param("yesterday", kNow));
}

TEST_CASE("units: ellipsis counts characters") {
  CHECK(ellipsis("abcdef", 4) == "abc\u2026");
  CHECK(ellipsis("abcd", 4) == "abcd");
  CHECK(ellipsis("\u00e4\u00f6\u00fcx", 3) == "\u00e4\u00f6\u2026");
}

TEST_CASE("table: columns as wide as their widest cell, at least ten") {
  CHECK(align_table("A\tB\tC\naaaaaaaaaaaa\tb\tc\n") == "A              B         C\naaaaaaaaaaaa   b         c\n");
  CHECK(align_table("X\t\tY\n") == "X                   Y\n");
  CHECK(align_table("\u2026\tx\n") == "\u2026         x\n");
}

TEST_CASE("json: parse, dump, indent") {
  auto value = JsonValue::parse(R"({"a":[1,2.5,-3e2],"b":"x\n\u00e9\ud83d\ude00","c":null,"d":{"e":true}})");
  REQUIRE(value.has_value());
  CHECK(value->at("b").text() == "x\n\u00e9\U0001F600");
  CHECK(value->at("d", "e").as_bool());
  CHECK(value->at("d", "x", "y").is_null());
  CHECK(value->dump() == "{\"a\":[1,2.5,-3e2],\"b\":\"x\\n\u00e9\U0001F600\",\"c\":null,\"d\":{\"e\":true}}");
  CHECK(JsonValue("<a&b>").dump(true) == "\"\\u003ca\\u0026b\\u003e\"");
  for (const char* bad : {"", "{", "[1,]", "{\"a\"}", "tru", "01x", "\"a", "{\"a\":1}x", "\"\\x\""}) {
    CAPTURE(bad);
    CHECK(!JsonValue::parse(bad));
  }
  CHECK(!JsonValue::parse(std::string(1000, '[')));
  CHECK(indent_json(R"([{"a":1,"b":[],"c":{},"d":"x{,"}])") ==
        "[\n    {\n        \"a\": 1,\n        \"b\": [],\n        \"c\": {},\n        \"d\": \"x{,\"\n    }\n]");
}
