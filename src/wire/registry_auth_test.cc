// SPDX-License-Identifier: Apache-2.0
#include "wire/registry_auth.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::registry;

TEST_CASE("challenges of real registries") {
  auto hub = parse_challenges(
      "Bearer "
      "realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:library/"
      "busybox:pull\"");
  REQUIRE(hub.size() == 1);
  CHECK(hub[0].scheme == "bearer");
  CHECK(hub[0].get("realm") == "https://auth.docker.io/token");
  CHECK(hub[0].get("service") == "registry.docker.io");
  CHECK(hub[0].get("scope") == "repository:library/busybox:pull");
  CHECK(hub[0].get("error") == "");
  auto basic = parse_challenges("Basic realm=\"Registry Realm\"");
  REQUIRE(basic.size() == 1);
  CHECK(basic[0].scheme == "basic");
  CHECK(basic[0].get("realm") == "Registry Realm");
}

TEST_CASE("several challenges, commas and quotes in values") {
  auto both = parse_challenges(
      "Bearer realm=\"https://a/t\", scope=\"repository:x:pull,push\" , Basic realm=\"say \\\"hi\\\"\", Negotiate");
  REQUIRE(both.size() == 3);
  CHECK(both[0].get("scope") == "repository:x:pull,push");
  CHECK(both[1].scheme == "basic");
  CHECK(both[1].get("realm") == "say \"hi\"");
  CHECK(both[2].scheme == "negotiate");
  auto token_form = parse_challenges("BEARER REALM = https://a/t , Service=x");
  REQUIRE(token_form.size() == 1);
  CHECK(token_form[0].get("realm") == "https://a/t");
  CHECK(token_form[0].get("service") == "x");
}

TEST_CASE("broken challenges end quietly") {
  CHECK(parse_challenges("").empty());
  CHECK(parse_challenges(", ,").empty());
  CHECK(parse_challenges("Bearer realm=\"unfinished").size() == 1);
  CHECK(parse_challenges("Bearer realm=\"unfinished")[0].get("realm") == "");
  CHECK(parse_challenges("\"x\"").empty());
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "a,";
  CHECK(parse_challenges(many).size() == 16);
}

TEST_CASE("the client's credentials") {
  CHECK(parse_auth_config("")->empty());
  CHECK(parse_auth_config("{}")->empty());
  auto named = parse_auth_config(R"({"username":"u","password":"p","serveraddress":"h"})");
  REQUIRE(named);
  CHECK(basic_authorization(*named) == "Basic dTpw");
  auto encoded = parse_auth_config(R"({"auth":"dTpwOng="})");
  REQUIRE(encoded);
  CHECK(encoded->username == "u");
  CHECK(encoded->password == "p:x");
  CHECK(parse_auth_config(R"({"identitytoken":"t"})")->identity_token == "t");
  CHECK(!parse_auth_config("[]"));
  CHECK(!parse_auth_config(R"({"auth":"%%%"})"));
  CHECK(!parse_auth_config(R"({"registrytoken":"a\r\nX: y"})"));
}

TEST_CASE("token requests and answers") {
  Challenge challenge = parse_challenges("Bearer realm=\"https://a/t\",service=\"reg & co\"")[0];
  CHECK(token_query(challenge, {"repository:a/b:pull"}, "u") ==
        "account=u&scope=repository%3Aa%2Fb%3Apull&service=reg%20%26%20co");
  CHECK(token_query(challenge, {}, "") == "service=reg%20%26%20co");
  CHECK(refresh_form(challenge, {"s"}, {.identity_token = "id"})
            .starts_with("grant_type=refresh_token&refresh_token=id&client_id="));
  auto token = parse_token(R"({"token":"abc","expires_in":300})");
  REQUIRE(token);
  CHECK(token->value == "abc");
  CHECK(token->expires_in_s == 300);
  CHECK(parse_token(R"({"access_token":"x"})")->expires_in_s == 60);
  CHECK(parse_token(R"({"token":"x","expires_in":99999999999})")->expires_in_s == 3600);
  CHECK(!parse_token("{}"));
  CHECK(!parse_token(R"({"token":"a\nb"})"));
  CHECK(!parse_token("<html>"));
}

TEST_CASE("error documents in Docker's words") {
  auto error = parse_registry_error(
      R"({"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]})");
  REQUIRE(error);
  CHECK(error->text() == "manifest unknown: manifest unknown");
  CHECK(!parse_registry_error("404 page not found"));
  CHECK(!parse_registry_error("{\"errors\":[]}"));
  CHECK(parse_registry_error(R"({"errors":[{"code":"X","message":"a\nb"}]})")->message == "a b");
}
