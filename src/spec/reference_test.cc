// SPDX-License-Identifier: Apache-2.0
// The table follows the cases that Docker documents and tests for its own reference grammar.
#include "spec/reference.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::spec;

static const std::string kHex(64, 'a');
static const std::string kDigest = "sha256:" + kHex;

static std::string why(const std::string& text) {
  auto parsed = parse_reference(text);
  if (parsed) return "accepted as " + parsed->full();
  CHECK(parsed.error().kind == ErrorKind::kInvalid);
  return parsed.error().message;
}

TEST_CASE("reference: names get Docker's defaults and familiar forms") {
  struct Case {
    const char *text, *full, *familiar;
  };
  const Case cases[] = {
      {"busybox", "docker.io/library/busybox", "busybox"},
      {"busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"},
      {"library/busybox", "docker.io/library/busybox", "busybox"},
      {"docker.io/busybox", "docker.io/library/busybox", "busybox"},
      {"docker.io/library/busybox", "docker.io/library/busybox", "busybox"},
      {"index.docker.io/busybox:a", "docker.io/library/busybox:a", "busybox:a"},
      {"user/app", "docker.io/user/app", "user/app"},
      {"library/foo/bar", "docker.io/library/foo/bar", "library/foo/bar"},
      {"localhost/app", "localhost/app", "localhost/app"},
      {"localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"},
      {"127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b"},
      {"[2001:db8::1]:5000/app", "[2001:db8::1]:5000/app", "[2001:db8::1]:5000/app"},
      {"example.com/app_x/a__b/c---d", "example.com/app_x/a__b/c---d", "example.com/app_x/a__b/c---d"},
      {"Uppercase/app", "Uppercase/app", "Uppercase/app"},
      {"busybox:5000", "docker.io/library/busybox:5000", "busybox:5000"},
      {"a:Tag_1.x-Y", "docker.io/library/a:Tag_1.x-Y", "a:Tag_1.x-Y"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    auto parsed = parse_reference(c.text);
    REQUIRE(parsed);
    CHECK(parsed->full() == c.full);
    CHECK(parsed->familiar() == c.familiar);
    CHECK(parse_reference(parsed->familiar())->full() == c.full);
  }
}

TEST_CASE("reference: digests") {
  auto parsed = parse_reference("host:5000/app:v1@" + kDigest);
  REQUIRE(parsed);
  CHECK(parsed->tag == "v1");
  CHECK(parsed->digest == kDigest);
  CHECK(parsed->familiar_name() == "host:5000/app");
  CHECK(parse_reference_with_default_tag("app@" + kDigest)->tag.empty());
  CHECK(parse_reference_with_default_tag("app")->tag == "latest");
  CHECK(why("app@sha256:" + std::string(40, 'a')) == "invalid checksum digest length");
  CHECK(why("app@md5:" + std::string(32, 'a')) == "unsupported digest algorithm");
  CHECK(why("app@sha256:" + std::string(63, 'a') + "A") == "invalid checksum digest format");
  CHECK(why("app@sha256:abc") == "invalid reference format");
  CHECK(is_valid_digest("sha512:" + kHex + kHex));
  CHECK(!is_valid_digest("sha512:" + kHex));
  CHECK(!is_valid_digest("sha256"));
}

TEST_CASE("reference: refusals have Docker's words") {
  CHECK(why("BusyBox") == "invalid reference format: repository name (library/BusyBox) must be lowercase");
  CHECK(why("host:5000/App:v") == "invalid reference format: repository name (App) must be lowercase");
  CHECK(why(kHex) == "invalid repository name (" + kHex + "), cannot specify 64-byte hexadecimal strings");
  CHECK(why("docker.io/" + std::string(256, 'a')) == "repository name must not be more than 255 characters");
  std::string long_tag(129, 'a');
  for (const std::string& text :
       {std::string(""),          std::string("/"),       std::string("a//b"),    std::string("/a"),
        std::string("a/"),        std::string("-a"),      std::string("a-"),      std::string("a..b"),
        std::string("a___b"),     std::string("a._b"),    std::string("a:"),      std::string("a:-x"),
        std::string("a b"),       std::string("a@"),      std::string("a:b:c"),   std::string("host:port/a"),
        std::string("-host.x/a"), std::string("host:/a"), std::string("[::g]/a"), std::string("a\n"),
        std::string("a\0b", 3),   "a:" + long_tag,        std::string("../a"),    std::string("a/../b"),
        std::string("\xc3\xa4")}) {
    CAPTURE(text);
    CHECK(why(text) == "invalid reference format");
  }
  CHECK(is_valid_tag(long_tag.substr(1)));
}
