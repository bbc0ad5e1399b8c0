// SPDX-License-Identifier: Apache-2.0
#include "cmd/caissond/htpasswd.h"

#include <crypt.h>

#include <doctest/doctest.h>

using namespace caisson;

TEST_CASE("password file: who comes in") {
  crypt_data data{};
  std::string hash = crypt_r("secret", "$2b$04$abcdefghijklmnopqrstuu", &data);
  REQUIRE(hash.starts_with("$2b$"));
  auto file = Htpasswd::parse("# people\n\nanna:" + hash + "\n");
  REQUIRE(file);
  CHECK(file->check("anna", "secret"));
  CHECK(file->check("anna", "secret"));  // remembered
  CHECK(!file->check("anna", "Secret"));
  CHECK(!file->check("anna", ""));
  CHECK(!file->check("bert", "secret"));
  CHECK(!file->check("", "secret"));
  CHECK(!file->check("anna", std::string(10000, 'x')));
}

TEST_CASE("password file: what is none") {
  for (const char* text :
       {"", "# nobody\n", "anna\n", ":$2y$x\n", "anna:\n", "anna:plain\n", "anna:{SHA}x\n", "anna:$apr1$x$y\n"}) {
    auto file = Htpasswd::parse(text);
    REQUIRE_MESSAGE(!file, text);
    CHECK(file.error().kind == ErrorKind::kInvalid);
  }
}
