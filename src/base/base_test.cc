// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/rollback.h"
#include "base/text.h"

using namespace caisson;

TEST_CASE("text: numbers take the whole text or nothing") {
  CHECK(parse_int("42") == 42);
  CHECK(parse_int("-7") == -7);
  CHECK(parse_int("+7") == 7);
  CHECK(!parse_int("+-7"));
  CHECK(!parse_int("42x"));
  CHECK(!parse_int(""));
  CHECK(!parse_int("9223372036854775808"));
  CHECK(!parse_uint("-1"));
  CHECK(parse_octal("755") == 0755u);
  CHECK(!parse_octal("8"));
}

TEST_CASE("text: split keeps empty parts") {
  CHECK(split("a,,b", ',') == std::vector<std::string>{"a", "", "b"});
  CHECK(split("", ',').size() == 1);
  CHECK(split_once("k=v=w", '=')->second == "v=w");
  CHECK(!split_once("kv", '='));
}

TEST_CASE("text: quoted escapes control bytes and cuts") {
  CHECK(quoted("a\nb") == "'a\\x0ab'");
  CHECK(quoted(std::string(1000, 'x')).size() < 300);
}

TEST_CASE("clock: RFC 3339 both ways") {
  CHECK(format_rfc3339(1714558830123456789) == "2024-05-01T10:20:30.123456789Z");
  CHECK(format_rfc3339(1714558830120000000) == "2024-05-01T10:20:30.12Z");
  CHECK(format_rfc3339_fixed(1714558830120000000) == "2024-05-01T10:20:30.120000000Z");
  CHECK(parse_rfc3339("2024-05-01T10:20:30.123456789Z") == 1714558830123456789);
  CHECK(parse_rfc3339("2024-05-01T12:20:30+02:00") == 1714558830000000000);
  CHECK(!parse_rfc3339("2024-05-01"));
  CHECK(!parse_rfc3339("2024-05-01T10:20:30"));
  CHECK(!parse_rfc3339("2024-13-01T10:20:30Z"));
}

TEST_CASE("ids: form of a container id") {
  std::string id = random_id();
  CHECK(id.size() == 64);
  CHECK(is_hex(id));
  CHECK(id != random_id());
}

static Result<int> half(int value) {
  if (value % 2) return fail(ErrorKind::kInvalid, "'%d' is odd", value);
  return value / 2;
}
static Result<int> quarter(int value) { return TRY_CTX(half(TRY(half(value))), "second half"); }

TEST_CASE("result: TRY passes value and error") {
  CHECK(*quarter(8) == 2);
  CHECK(quarter(7).error().message == "'7' is odd");
  CHECK(quarter(6).error().message == "second half: '3' is odd");
}

TEST_CASE("rollback: runs backwards unless committed") {
  std::string order;
  {
    Rollback undo;
    undo.add([&] { order += "a"; });
    undo.add([&] { order += "b"; });
  }
  CHECK(order == "ba");
  {
    Rollback undo;
    undo.add([&] { order += "x"; });
    undo.commit();
  }
  CHECK(order == "ba");
}
