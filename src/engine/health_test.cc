// SPDX-License-Identifier: Apache-2.0
#include "engine/health.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::engine;

namespace {

constexpr int64_t kSecond = 1'000'000'000;

spec::ContainerConfig checked(std::vector<std::string> test) {
  spec::ContainerConfig config;
  config.healthcheck.emplace();
  config.healthcheck->test = std::move(test);
  return config;
}

spec::HealthResult result(int64_t code) { return {"", "", code, ""}; }

}  // namespace

TEST_CASE("the command of a check and its defaults") {
  CHECK(plan_health({}).command.empty());
  CHECK(plan_health(checked({})).command.empty());
  CHECK(plan_health(checked({"NONE"})).command.empty());
  CHECK(plan_health(checked({"CMD", "/probe", "-x"})).command == std::vector<std::string>{"/probe", "-x"});
  CHECK(plan_health(checked({"CMD-SHELL", "a | b"})).command == std::vector<std::string>{"/bin/sh", "-c", "a | b"});
  auto config = checked({"CMD-SHELL", "a"});
  config.shell.items = {"/bin/bash", "-ec"};
  config.healthcheck->retries = 5;
  auto plan = plan_health(config);
  CHECK(plan.command == std::vector<std::string>{"/bin/bash", "-ec", "a"});
  CHECK(plan.interval == 30 * kSecond);
  CHECK(plan.timeout == 30 * kSecond);
  CHECK(plan.start_interval == 5 * kSecond);
  CHECK(plan.retries == 5);
}

TEST_CASE("from starting over healthy to unhealthy and back") {
  HealthPlan plan;
  plan.retries = 2;
  spec::Health health{"starting", 0, {}};
  note_probe(health, plan, result(1), 0, 0);
  CHECK(health.status == "starting");
  CHECK(health.failing_streak == 1);
  note_probe(health, plan, result(0), 0, 0);
  CHECK(health.status == "healthy");
  CHECK(health.failing_streak == 0);
  note_probe(health, plan, result(1), 0, 0);
  CHECK(health.status == "healthy");
  note_probe(health, plan, result(-1), 0, 0);
  CHECK(health.status == "unhealthy");
  CHECK(health.failing_streak == 2);
  for (int i = 0; i < 10; ++i) note_probe(health, plan, result(0), 0, 0);
  CHECK(health.status == "healthy");
  CHECK(health.log.size() == 5);
}

TEST_CASE("failures in the start period do not count") {
  HealthPlan plan;
  plan.retries = 1;
  plan.start_period = 10 * kSecond;
  spec::Health health{"starting", 0, {}};
  note_probe(health, plan, result(1), 109 * kSecond, 100 * kSecond);
  CHECK(health.status == "starting");
  CHECK(health.failing_streak == 0);
  note_probe(health, plan, result(1), 110 * kSecond, 100 * kSecond);
  CHECK(health.status == "unhealthy");
  // A success ends the period for good.
  health = {"starting", 0, {}};
  note_probe(health, plan, result(0), 101 * kSecond, 100 * kSecond);
  note_probe(health, plan, result(1), 102 * kSecond, 100 * kSecond);
  CHECK(health.status == "unhealthy");
}
