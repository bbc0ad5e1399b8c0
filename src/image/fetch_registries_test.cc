// SPDX-License-Identifier: Apache-2.0
#include "image/fetch_registries.h"

#include <doctest/doctest.h>

#include "image/fetch_endpoints.h"

using namespace caisson;
using namespace caisson::image;

namespace {

RegistriesConfig parsed(const std::string& text) {
  auto config = parse_registries_conf(text, "t.conf");
  REQUIRE_MESSAGE(config, (config ? "" : config.error().message));
  return *config;
}

std::string mistake_in(const std::string& text) {
  auto config = parse_registries_conf(text, "t.conf");
  return config ? "" : config.error().message;
}

spec::Reference ref(const std::string& text) { return *spec::parse_reference(text); }

// "host/repository" of each endpoint, "!" where insecure, "+" where it gets the credentials.
std::string places(const FetchConfig& config, const std::string& name, bool is_short = false) {
  auto endpoints = pull_endpoints(config, {.reference = ref(name), .auth_json = "{secret}", .is_short = is_short});
  if (!endpoints) return endpoints.error().message;
  std::string out;
  for (auto& setup : *endpoints)
    out += setup.host + "/" + setup.repository + (setup.insecure ? "!" : "") + (setup.auth.empty() ? "" : "+") + " ";
  return out;
}

FetchConfig with(const std::string& text) {
  FetchConfig config;
  config.registries = std::make_shared<const RegistriesConfig>(parsed(text));
  return config;
}

}  // namespace

TEST_CASE("registries.conf: the longest prefix rules, and ends where a part of a name ends") {
  auto config = parsed(R"(
    [[registry]]
    location = "a.example"
    [[registry]]
    prefix = "a.example/team"
    location = "b.example"
    [[registry]]
    prefix = "*.wild.example"
    [[registry]]
    prefix = "a.example/one:tag"
    blocked = true
  )");
  auto prefix = [&](const char* name) {
    auto* rule = config.find(ref(name));
    return rule ? rule->prefix : "";
  };
  CHECK(prefix("a.example/x") == "a.example");
  CHECK(prefix("a.example/team/x:1") == "a.example/team");
  CHECK(prefix("a.example/teamwork") == "a.example");
  CHECK(prefix("a.example:5000/x") == "a.example");
  CHECK(prefix("a.example/one:tag") == "a.example/one:tag");
  CHECK(prefix("a.example/one:other") == "a.example");
  CHECK(prefix("q.wild.example/x") == "*.wild.example");
  CHECK(prefix("q.r.wild.example:1/x") == "*.wild.example");
  CHECK(prefix("wild.example/x") == "");
  CHECK(prefix("wild.example.org/x") == "");
  CHECK(prefix("other.example/q.wild.example/x") == "");
}

TEST_CASE("registries.conf: mistakes are told with their line") {
  CHECK(mistake_in("[[registry]]\nlocation = \"https://x\"\n").starts_with("t.conf:1: registry without a prefix"));
  CHECK(mistake_in("[[registry]]\nlocation = 5\n") == "t.conf:2: 'location' must be a string");
  CHECK(mistake_in("[[registry]]\nlocation = \"x\"\nblocked = \"yes\"\n") ==
        "t.conf:3: 'blocked' must be true or false");
  CHECK(mistake_in("[[registry]]\nlocation=\"x\"\n[[registry]]\nprefix=\"x\"\n") ==
        "t.conf:3: prefix 'x' is given twice");
  CHECK(mistake_in("[registries.search]\nregistries = []\n").contains("version 1 of the format"));
  CHECK(mistake_in("[[registry]]\nlocation=\"x\"\n[[registry.mirror]]\nlocation=\"y\"\npull-from-mirror=\"never\"\n")
            .contains("must be all, digest-only or tag-only"));
  CHECK(mistake_in("[[registry]]\nprefix=\"*.x/y\"\n").contains("wildcard"));
  CHECK(mistake_in("[[registry]]\nlocation=\"x\"\n[[registry.mirror]]\ninsecure=true\n").contains("mirror without"));
  CHECK(mistake_in("[aliases]\na = \"B C\"\n").contains("must name an image"));
  CHECK(mistake_in("a = \n").starts_with("t.conf:1: "));
  CHECK(mistake_in("[=]\n").starts_with("t.conf:1: "));
  CHECK(mistake_in("unqualified-search-registries = \"x\"\n").contains("must be a list"));
  CHECK(mistake_in("").empty());
  CHECK(mistake_in("# f\xc3\xbcr alle\nshort-name-mode = \"permissive\"\n").empty());
}

TEST_CASE("where a pull goes") {
  CHECK(places({}, "busybox") == "registry-1.docker.io/library/busybox+ ");
  CHECK(places({}, "localhost:5000/a") == "localhost:5000/a!+ ");
  FetchConfig hub;
  hub.mirrors = {"http://mirror", "https://other:1/path/", "nonsense"};
  CHECK(places(hub, "busybox") ==
        "mirror:80/library/busybox! other:1/path/library/busybox registry-1.docker.io/library/busybox+ ");
  CHECK(places(hub, "quay.io/a") == "quay.io/a+ ");

  FetchConfig mirrored = with(R"(
    [[registry]]
    prefix = "a.example/team"
    location = "b.example/x"
    insecure = true
    [[registry.mirror]]
    location = "m.example"
    insecure = true
    [[registry.mirror]]
    location = "n.example/deep"
    pull-from-mirror = "digest-only"
    [[registry]]
    location = "blocked.example"
    blocked = true
    [[registry]]
    prefix = "*.wild.example"
    location = "w.example"
  )");
  CHECK(places(mirrored, "a.example/team/app:1") == "m.example/app! b.example/x/app! ");
  std::string digest = "@sha256:" + std::string(64, 'a');
  CHECK(places(mirrored, "a.example/team/app" + digest) == "m.example/app! n.example/deep/app b.example/x/app! ");
  CHECK(places(mirrored, "a.example/other") == "a.example/other+ ");
  CHECK(places(mirrored, "q.wild.example/c/d") == "w.example/c/d ");
  CHECK(places(mirrored, "blocked.example/x:1") ==
        "registry 'blocked.example' is blocked in registries.conf: refusing 'blocked.example/x:1'");
}

TEST_CASE("names without a registry: aliases and the search list, for those only") {
  FetchConfig config = with(R"(
    unqualified-search-registries = ["one.example", "docker.io"]
    [aliases]
    "tool" = "quay.io/makers/tool"
  )");
  CHECK(places(config, "tool:2", true) == "quay.io/makers/tool ");
  CHECK(places(config, "tool:2") == "registry-1.docker.io/library/tool+ ");
  CHECK(places(config, "other", true) == "one.example/other registry-1.docker.io/library/other+ ");
}

TEST_CASE("a push goes where its name says, unless it is blocked") {
  FetchConfig config = with(
      "[[registry]]\nprefix=\"a.example\"\nlocation=\"b.example\"\ninsecure=true\n"
      "[[registry]]\nlocation=\"c.example\"\ninsecure=true\n[[registry]]\nlocation=\"d.example\"\nblocked=true\n");
  auto to = [&](const char* name) { return push_endpoint(config, {.reference = ref(name), .auth_json = "{}"}); };
  CHECK(to("a.example/x")->host == "a.example");
  CHECK(!to("a.example/x")->insecure);
  CHECK(to("c.example/x")->insecure);
  CHECK(to("c.example/x")->push);
  CHECK(to("d.example/x").error().kind == ErrorKind::kDenied);
}
