// SPDX-License-Identifier: Apache-2.0
#include "api/client_quirks.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::api;

namespace {
spec::LogConfig chosen(std::string_view agent, const std::string& engine_driver, spec::StringMap options = {},
                       std::string asked = "") {
  spec::HostConfig host;
  host.log_config.type = std::move(asked);
  choose_log_driver(agent, engine_driver, options, host);
  return host.log_config;
}
}  // namespace

TEST_CASE("client quirks: the Python SDK's containers get a driver that it reads") {
  auto log = chosen("docker-sdk-python/5.0.3", "local");
  CHECK(log.type == "json-file");
  CHECK(log.config == spec::StringMap{{"max-file", "5"}, {"max-size", "20m"}});
  log = chosen("docker-sdk-python/7.1.0", "local", {{"max-size", "1m"}, {"compress", "false"}});
  CHECK(log.config == spec::StringMap{{"max-file", "5"}, {"max-size", "1m"}});
}

TEST_CASE("client quirks: what was asked for, by the request or by the operator, stays") {
  CHECK(chosen("docker-sdk-python/5.0.3", "local", {}, "local").type == "local");
  CHECK(chosen("docker-sdk-python/5.0.3", "syslog").type.empty());
  CHECK(chosen("Docker-Client/28.2.2 (linux)", "local").type.empty());
  CHECK(chosen("", "local").type.empty());
}

TEST_CASE("client quirks: Compose 1 is shown images as it knows them") {
  CHECK(image_inspect_version("docker-compose/1.29.2 docker-py/5.0.3 Linux/6.18", 51) == 44);
  CHECK(image_inspect_version("docker-compose/1.29.2 docker-py/5.0.3 Linux/6.18", 24) == 24);
  CHECK(image_inspect_version("compose/v2.29.2", 51) == 51);
  CHECK(image_inspect_version("", 51) == 51);
}

TEST_CASE("client quirks: a client that has nothing to read is not waited for") {
  await_peer_has_read(-1);
  await_peer_has_read(0);
}
