// SPDX-License-Identifier: Apache-2.0
#include "engine/links.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace caisson;
using namespace caisson::engine;

namespace {
LinkedContainer linked(const char* alias, const char* config) {
  auto record = std::make_shared<ContainerRecord>();
  record->name = "db";
  record->config = *json::decode<spec::ContainerConfig>(config);
  record->config.hostname = "0123456789ab";
  StoredEndpoint endpoint;
  endpoint.network = "bridge";
  endpoint.address = "172.17.0.9";
  record->endpoints = {endpoint};
  return {alias, record};
}
}  // namespace

TEST_CASE("links: the forms of a link") {
  CHECK(parse_link("db")->alias == "db");
  CHECK(parse_link("db:store")->name == "db");
  CHECK(parse_link("db:store")->alias == "store");
  // As inspect shows them, for clients that make a container like another.
  CHECK(parse_link("/db:/web/store")->name == "db");
  CHECK(parse_link("/db:/web/store")->alias == "store");
  for (const char* bad : {"", ":", "db:", ":a", "a:b:c", "a:b c", "a:b\nc", "a:b\tc", "/:/", "a:/web/"}) {
    CAPTURE(bad);
    CHECK(parse_link(bad).error().kind == ErrorKind::kInvalid);
  }
}

TEST_CASE("links: environment") {
  auto env = link_environment(
      "web", {linked("my-db", R"({"ExposedPorts": {"53/udp": {}, "6380/tcp": {}, "6379/tcp": {}, "80/tcp": {}},
                                  "Env": ["PATH=/x", "HOME=/y", "A=1=2", "BARE"]})")});
  auto has = [&](const char* entry) { return std::find(env.begin(), env.end(), entry) != env.end(); };
  CHECK(env[0] == "MY_DB_PORT=tcp://172.17.0.9:80");
  CHECK(has("MY_DB_PORT_53_UDP=udp://172.17.0.9:53"));
  CHECK(has("MY_DB_PORT_53_UDP_PROTO=udp"));
  CHECK(has("MY_DB_PORT_6379_TCP_START=tcp://172.17.0.9:6379"));
  CHECK(has("MY_DB_PORT_6379_TCP_PORT_START=6379"));
  CHECK(has("MY_DB_PORT_6379_TCP_END=tcp://172.17.0.9:6380"));
  CHECK(has("MY_DB_PORT_6379_TCP_PORT_END=6380"));
  CHECK(has("MY_DB_PORT_6380_TCP_ADDR=172.17.0.9"));
  CHECK(has("MY_DB_PORT_6380_TCP_PORT=6380"));
  CHECK(has("MY_DB_NAME=/web/my-db"));
  CHECK(has("MY_DB_ENV_A=1=2"));
  CHECK(!has("MY_DB_PORT_80_TCP_START=tcp://172.17.0.9:80"));
  CHECK(std::none_of(env.begin(), env.end(), [](auto& entry) {
    return entry.find("ENV_PATH") != std::string::npos || entry.find("BARE") != std::string::npos;
  }));
  CHECK(link_environment("web", {linked("d", "{}")}) == std::vector<std::string>{"D_NAME=/web/d"});
}

TEST_CASE("links: lines of /etc/hosts") {
  CHECK(link_host_names(linked("store", "{}")) == "store 0123456789ab db");
  CHECK(link_host_names(linked("db", "{}")) == "db 0123456789ab");
  std::string text = "127.0.0.1\tlocalhost\n172.17.0.2\tdb 0123 x\n172.17.0.2\tdb2 0123\n# db\n172.17.0.3\tme";
  CHECK(hosts_with_address(text, "db", "10.0.0.1") ==
        "127.0.0.1\tlocalhost\n10.0.0.1\tdb 0123 x\n172.17.0.2\tdb2 0123\n# db\n172.17.0.3\tme");
  CHECK(hosts_with_address(text, "db", "") == "127.0.0.1\tlocalhost\n172.17.0.2\tdb2 0123\n# db\n172.17.0.3\tme");
  CHECK(hosts_with_address(text, "nobody", "1.1.1.1") == text);
  CHECK(hosts_with_address("", "db", "1.1.1.1") == "");
}
