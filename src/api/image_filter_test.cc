// SPDX-License-Identifier: Apache-2.0
#include "api/image_filter.h"

#include <doctest/doctest.h>

using namespace caisson;
using api::glob_match;

TEST_CASE("image filter: patterns match as Go's path.Match does") {
  struct {
    const char *pattern, *text;
    bool matches;
  } cases[] = {
      {"abc", "abc", true},
      {"*", "abc", true},
      {"*c", "abc", true},
      {"a*", "a", true},
      {"a*", "abc", true},
      {"a*", "ab/c", false},
      {"a*/b", "abc/b", true},
      {"a*/b", "a/c/b", false},
      {"a*b*c*d*e*/f", "axbxcxdxe/f", true},
      {"a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false},
      {"a*b?c*x", "abxbbxdbxebxczzx", true},
      {"a*b?c*x", "abxbbxdbxebxczzy", false},
      {"ab[c]", "abc", true},
      {"ab[b-d]", "abc", true},
      {"ab[e-g]", "abc", false},
      {"ab[^c]", "abc", false},
      {"ab[^e-g]", "abc", true},
      {"a\\*b", "a*b", true},
      {"a\\*b", "ab", false},
      {"a?b", "a/b", false},
      {"a*b", "a/b", false},
      {"[\\]a]", "]", true},
      {"[x\\-]", "-", true},
      {"*x", "xxx", true},
      {"", "", true},
      {"", "a", false},
      {"**", "ab", true},
      {"*:v?", "app:v1", true},
  };
  for (const auto& c : cases) {
    CAPTURE(c.pattern);
    CAPTURE(c.text);
    auto matches = glob_match(c.pattern, c.text);
    REQUIRE(matches);
    CHECK(*matches == c.matches);
  }
  for (const char* bad : {"[", "[]a]", "[-]", "[x-]", "[-x]", "a[", "[^", "[^bc", "\\", "a\\"}) {
    CAPTURE(bad);
    CHECK(!glob_match(bad, "a"));
  }
}

TEST_CASE("image filter: many stars cost no time") {
  std::string pattern, text(5000, 'a');
  for (int i = 0; i < 500; ++i) pattern += "a*";
  CHECK(glob_match(pattern + "b", text) == false);
  CHECK(glob_match(pattern, text) == true);
}

TEST_CASE("image filter: platforms") {
  CHECK(!api::decode_platform("")->has_value());
  CHECK(api::decode_platform(R"({"os":"linux","architecture":"arm64","variant":"v8"})")->value().variant == "v8");
  CHECK(api::decode_platform("linux/amd64").error().kind == ErrorKind::kInvalid);
  CHECK(api::decode_platform(R"({"os":"linux"})").error().message == "both OS and Architecture must be provided");
  image::Image image;
  image.config.os = "linux";
  image.config.architecture = "arm64";
  auto asks = [&](const char* text) { return api::check_platform(image, "app:1", *api::decode_platform(text)); };
  CHECK(asks(""));
  CHECK(asks(R"({"os":"linux","architecture":"arm64"})"));
  CHECK(asks(R"({"os":"linux","architecture":"arm64","variant":"v8"})"));
  CHECK(asks(R"({"os":"linux","architecture":"amd64"})").error().message ==
        "image with reference app:1 was found but its platform (linux/arm64) does not match the specified platform "
        "(linux/amd64)");
  CHECK(!asks(R"({"os":"windows","architecture":"arm64"})"));
}
