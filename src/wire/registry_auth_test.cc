// SPDX-License-Identifier: Apache-2.0
#include "wire/registry_auth.h"

#include <doctest/doctest.h>

#include "wire/registry_client.h"
#include "wire/registry_tokens.h"

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
  CHECK(token_form(challenge, {"s"}, {.identity_token = "id"})
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

TEST_CASE("an identity token is asked for, used and kept in bounds") {
  Challenge challenge = parse_challenges("Bearer realm=\"https://a/t\",service=\"reg\"")[0];
  CHECK(token_query(challenge, {}, "u", true) == "account=u&client_id=caisson&offline_token=true&service=reg");
  std::string form = token_form(challenge, {"s"}, {.username = "u", .password = "p&q"}, true);
  CHECK(form.contains("grant_type=password"));
  CHECK(form.contains("password=p%26q"));
  CHECK(form.contains("access_type=offline"));
  CHECK(parse_token(R"({"token":"x","refresh_token":"r"})")->identity_token == "r");
  CHECK(parse_token(R"({"token":"x","refresh_token":"a\nb"})")->identity_token == "");
}

TEST_CASE("tokens are kept by scope, renewed when refused, and asked for once") {
  int asked = 0;
  std::vector<std::string> targets;
  TokenKeeper keeper({.username = "u", .password = "p"}, false, [&](const Url& realm, const RealmRequest& request) {
    targets.push_back(request.method + " " + realm.target);
    return Result<RealmAnswer>(RealmAnswer{200, "{\"token\":\"t" + std::to_string(++asked) + "\",\"expires_in\":300}"});
  });
  auto bearer = parse_challenges("Bearer realm=\"https://r.example/token\",service=\"s\"");
  keeper.begin(*parse_url("https://r.example"), bearer);
  CHECK(*keeper.authorization({"repository:a:pull"}) == "Bearer t1");
  CHECK(*keeper.authorization({"repository:a:pull"}) == "Bearer t1");
  CHECK(*keeper.authorization({"repository:a:pull", "repository:b:pull"}) == "Bearer t2");
  CHECK(targets[0] == "GET /token?account=u&scope=repository%3Aa%3Apull&service=s");
  CHECK(*keeper.challenged(bearer, {"repository:a:pull"}, "Bearer t1"));
  CHECK(*keeper.authorization({"repository:a:pull"}) == "Bearer t3");
  // Refused with an old one: the new one is tried, not replaced.
  CHECK(*keeper.challenged(bearer, {"repository:a:pull"}, "Bearer t1"));
  CHECK(*keeper.authorization({"repository:a:pull"}) == "Bearer t3");
  // A scope that only the registry knew of is asked for from then on.
  auto more = parse_challenges("Bearer realm=\"https://r.example/token\",scope=\"registry:catalog:*\"");
  CHECK(*keeper.challenged(more, {}, ""));
  CHECK(*keeper.authorization({}) == "Bearer t4");
  CHECK(targets.back().contains("registry%3Acatalog"));
}

TEST_CASE("token servers of one form, refusals, and realms that are not trusted") {
  auto keeper_of = [](Credentials credentials, AskRealm ask) {
    auto keeper = std::make_unique<TokenKeeper>(std::move(credentials), false, std::move(ask));
    keeper->begin(*parse_url("https://r.example"), parse_challenges("Bearer realm=\"https://r.example/token\""));
    return keeper;
  };
  auto post_only = keeper_of({.username = "u", .password = "p"}, [](const Url&, const RealmRequest& request) {
    return Result<RealmAnswer>(request.method == "POST" ? RealmAnswer{200, R"({"access_token":"x"})"}
                                                        : RealmAnswer{405, ""});
  });
  CHECK(*post_only->authorization({}) == "Bearer x");
  auto refusing = keeper_of({.username = "u", .password = "p"}, [](const Url&, const RealmRequest&) {
    return Result<RealmAnswer>(RealmAnswer{401, ""});
  });
  CHECK(refusing->authorization({}).error().message == "unauthorized: incorrect username or password");
  std::vector<RealmRequest> seen;
  TokenKeeper abroad({.username = "u", .password = "p"}, false, [&](const Url&, const RealmRequest& request) {
    seen.push_back(request);
    return Result<RealmAnswer>(RealmAnswer{200, R"({"token":"x"})"});
  });
  abroad.begin(*parse_url("http://r.example"), parse_challenges("Bearer realm=\"http://evil.example/token\""));
  CHECK(abroad.authorization({}));
  CHECK(seen[0].authorization == "");
  CHECK(!seen[0].body.contains("password"));
}

TEST_CASE("what a status says, and how long to wait") {
  CHECK(failure_of_response(429, "").error.message.starts_with("toomanyrequests: "));
  CHECK(failure_of_response(503, "").error.kind == ErrorKind::kUnavailable);
  CHECK(failure_of_response(400, "").error.kind == ErrorKind::kInternal);
  http::Headers scope;
  scope.add("WWW-Authenticate", "Bearer realm=\"https://a\",error=\"insufficient_scope\"");
  CHECK(failure_of_response(401, "", &scope).code == "DENIED");
  CHECK(failure_of_response(401, "").code == "UNAUTHORIZED");
  auto wait = [](const char* text) {
    http::Headers headers;
    headers.add("Retry-After", text);
    return retry_after_s(headers, 784111777);
  };
  CHECK(wait("5") == 5);
  CHECK(wait("99999999999999") == 1'000'000);
  CHECK(wait("Sun, 06 Nov 1994 08:49:47 GMT") == 10);
  CHECK(wait("Sun, 06 Nov 1994 08:49:27 GMT") == 0);
  CHECK(wait("soon") == std::nullopt);
  CHECK(retry_after_s({}, 0) == std::nullopt);
}
