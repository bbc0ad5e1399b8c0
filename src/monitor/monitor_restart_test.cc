// SPDX-License-Identifier: Apache-2.0
// Restart policies as the real monitor carries them out, with nobody listening and with somebody.
#include <doctest/doctest.h>
#include <signal.h>

#include "monitor/live_container.h"
#include "sys/process.h"

using namespace caisson;
using namespace caisson::monitor;
using namespace caisson::monitor::test;

namespace {

#define LIVE()                                              \
  if (std::string why = missing_for_live(); !why.empty()) { \
    MESSAGE("SKIPPED: " << why);                            \
    return;                                                 \
  }

LaunchRequest with_policy(LaunchRequest request, const char* name, int64_t retries = 0) {
  request.restart = *restart_policy_of(name, retries);
  return request;
}

// The monitor's end, without a trace of its container.
ExitRecord final_record(const LiveContainer& box, const Running& running) {
  if (auto pidfd = sys::open_pidfd(running.monitor_pid)) REQUIRE(sys::wait_readable(pidfd->get(), 20000));
  CHECK(reap(running.monitor_pid));
  CHECK(sys::list_dir(box.state_dir)->empty());
  for (const char* controller : {"memory", "pids", "cpu", "devices", "unified", "."})
    CHECK_FALSE(sys::path_exists("/sys/fs/cgroup/" + std::string(controller) + "/caisson-test/" + box.id));
  auto record = read_exit_record(box.record_dir);
  REQUIRE(record);
  return *record;
}

}  // namespace

TEST_CASE("live: on-failure tries as often as it is told, alone") {
  LIVE();
  LiveContainer box;
  auto running = launch(with_policy(box.shell("echo run >> /count; exit 7"), "on-failure", 2));
  REQUIRE_MESSAGE(running, running.error().message);
  auto record = final_record(box, *running);
  CHECK(record.exit_code == 7);
  CHECK(record.restart_count == 2);
  CHECK(*sys::read_file(box.base + "/root/count") == "run\nrun\nrun\n");
}

TEST_CASE("live: on-failure ends with a success") {
  LIVE();
  LiveContainer box;
  auto running = launch(with_policy(box.shell("echo run >> /count; [ $(grep -c run /count) = 2 ]"), "on-failure"));
  REQUIRE_MESSAGE(running, running.error().message);
  auto record = final_record(box, *running);
  CHECK(record.exit_code == 0);
  CHECK(record.restart_count == 1);
}

TEST_CASE("live: every run is told, the state comes with the subscription") {
  LIVE();
  LiveContainer box;
  auto running = launch(
      with_policy(box.shell("echo run >> /count; echo out; [ $(grep -c run /count) -lt 3 ] || sleep 100"), "always"));
  REQUIRE_MESSAGE(running, running.error().message);
  auto subscription = subscribe(box.state_dir);
  REQUIRE(subscription);
  // Whatever came before: the third run is told as a state.
  Event event;
  do event = wait_event(subscription->get(), Event::Kind::kState);
  while (event.kind == Event::Kind::kState && (event.running.restart_count < 2 || event.running.restarting));
  REQUIRE(event.kind == Event::Kind::kState);
  CHECK(event.running.pid > 0);
  CHECK(event.running.restart_count == 2);
  auto again = subscribe(box.state_dir);
  REQUIRE(again);
  auto state = wait_event(again->get(), Event::Kind::kState);
  CHECK(state.running.pid == event.running.pid);
  CHECK(state.running.last_exit.exit_code == 0);
  CHECK(state.running.last_exit.finished_ns > 0);

  // Killed by anybody it comes back, killed for good it does not.
  REQUIRE(signal(box.state_dir, SIGKILL));
  auto restarting = wait_event(subscription->get(), Event::Kind::kRestarting);
  CHECK(restarting.exit.exit_code == 137);
  CHECK(restarting.exit.restart_count == 3);
  auto back = wait_event(subscription->get(), Event::Kind::kState);
  CHECK(back.running.pid != state.running.pid);
  REQUIRE(signal(box.state_dir, SIGKILL, true));
  CHECK(wait_event(subscription->get(), Event::Kind::kExit).exit.exit_code == 137);
  CHECK(final_record(box, *running).restart_count == 3);
}

TEST_CASE("live: one that waits for its next start is stopped at once") {
  LIVE();
  LiveContainer box;
  auto running = launch(with_policy(box.shell("sleep 0.1; exit 1"), "always"));
  REQUIRE_MESSAGE(running, running.error().message);
  auto subscription = subscribe(box.state_dir);
  // The third pause is 400 ms long.
  for (int i = 0; i < 3; ++i)
    REQUIRE(wait_event(subscription->get(), Event::Kind::kRestarting).kind == Event::Kind::kRestarting);
  auto refused = signal(box.state_dir, SIGTERM);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == ErrorKind::kConflict);
  REQUIRE(signal(box.state_dir, SIGTERM, true));
  CHECK(final_record(box, *running).exit_code == 1);
}

TEST_CASE("live: the policy may change, and a start that fails is the end") {
  LIVE();
  LiveContainer box;
  auto running = launch(with_policy(box.shell("sleep 100"), "always"));
  REQUIRE_MESSAGE(running, running.error().message);
  SUBCASE("to no") {
    REQUIRE(set_restart_policy(box.state_dir, {}));
    REQUIRE(signal(box.state_dir, SIGKILL));
    CHECK(final_record(box, *running).exit_code == 137);
  }
  SUBCASE("the program is gone") {
    REQUIRE(sys::remove_file(box.base + "/root/bin/busybox"));
    REQUIRE(signal(box.state_dir, SIGKILL));
    auto record = final_record(box, *running);
    CHECK(record.exit_code == 127);
    CHECK(record.error.find("/bin/sh") != std::string::npos);
  }
}
