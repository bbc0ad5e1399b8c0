// SPDX-License-Identifier: Apache-2.0
#include "engine/health.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace caisson::engine {

namespace {

constexpr int64_t kMs = 1'000'000, kSecond = 1000 * kMs;
constexpr size_t kKeptResults = 5;
constexpr size_t kMaxOutput = 4096;
constexpr size_t kMaxRead = 64 << 10;  // frames of a talkative probe; more is not read, but thrown away

// Output of both streams in their order, without the 8-byte heads.
std::string without_frames(std::string_view frames) {
  std::string out;
  while (frames.size() >= 8) {
    auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(frames[i])); };
    size_t size = byte(4) << 24 | byte(5) << 16 | byte(6) << 8 | byte(7);
    out += frames.substr(8, size);
    frames.remove_prefix(std::min(frames.size(), 8 + size));
  }
  out.resize(std::min(out.size(), kMaxOutput));
  return out;
}

}  // namespace

HealthPlan plan_health(const spec::ContainerConfig& config) {
  HealthPlan plan;
  if (!config.healthcheck || config.healthcheck->test.empty()) return plan;
  const auto& given = *config.healthcheck;
  if (given.test[0] == "CMD") {
    plan.command.assign(given.test.begin() + 1, given.test.end());
  } else if (given.test[0] == "CMD-SHELL" && given.test.size() > 1) {
    plan.command = config.shell.items;
    if (plan.command.empty()) plan.command = {"/bin/sh", "-c"};
    plan.command.push_back(given.test[1]);
  }
  auto or_default = [](int64_t value, int64_t otherwise) { return value > 0 ? value : otherwise; };
  plan.interval = or_default(given.interval, 30 * kSecond);
  plan.timeout = or_default(given.timeout, 30 * kSecond);
  plan.start_period = given.start_period;
  plan.start_interval = or_default(given.start_interval, 5 * kSecond);
  plan.retries = or_default(given.retries, 3);
  return plan;
}

void note_probe(spec::Health& health, const HealthPlan& plan, const spec::HealthResult& result, int64_t probe_start_ns,
                int64_t started_ns) {
  if (result.exit_code == 0) {
    health.status = "healthy";
    health.failing_streak = 0;
  } else if (health.status != "starting" || probe_start_ns - started_ns >= plan.start_period) {
    // Failures in the start period do not count until the first success.
    if (++health.failing_streak >= plan.retries) health.status = "unhealthy";
  }
  health.log.push_back(result);
  if (health.log.size() > kKeptResults) health.log.erase(health.log.begin());
}

// One run of a container that is checked.
struct HealthChecks::Check {
  ContainerPtr container;
  HealthPlan plan;
  int64_t started_ns = 0;
  std::atomic<bool> over = false;
};

// One run of the command. The rest of it is touched by the loop alone between registering and finishing.
struct HealthChecks::Probe {
  std::shared_ptr<Check> check;
  std::string exec_id;
  UniqueFd socket;
  sys::EventLoop::TimerId timer = 0;
  int64_t start_ns = 0;
  std::string frames;
  std::atomic<bool> late = false, done = false;  // the loop and a worker look at them
};

struct HealthChecks::State {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Check>> checks;  // by container id
};

HealthChecks::HealthChecks(Services services, ExecManager& execs, Lifecycle& lifecycle)
    : services_(std::move(services)), execs_(execs), lifecycle_(lifecycle), state_(std::make_shared<State>()) {}
HealthChecks::~HealthChecks() = default;

void HealthChecks::run_began(const ContainerPtr& container) {
  auto record = *container->snapshot();
  auto plan = plan_health(record.config);
  if (plan.command.empty()) return;
  auto check = std::make_shared<Check>();
  check->container = container;
  check->plan = std::move(plan);
  check->started_ns = record.started_ns;
  record.health = spec::Health{"starting", 0, {}};
  container->publish(std::move(record));
  {
    std::lock_guard lock(state_->mutex);
    auto& slot = state_->checks[container->id()];
    if (slot) slot->over = true;
    slot = check;
  }
  schedule(check);
}

void HealthChecks::run_ended(const std::string& id) {
  std::lock_guard lock(state_->mutex);
  auto found = state_->checks.find(id);
  if (found == state_->checks.end()) return;
  found->second->over = true;
  state_->checks.erase(found);
}

void HealthChecks::schedule(const std::shared_ptr<Check>& check) {
  auto record = check->container->snapshot();
  bool starting =
      record->health && record->health->status == "starting" && now_ns() - check->started_ns < check->plan.start_period;
  int64_t delay = std::max(starting ? check->plan.start_interval : check->plan.interval, kMs);
  services_.loop.post([this, check, delay] {
    services_.loop.after_ms(delay / kMs, [this, check] {
      if (check->over) return;
      services_.executor.post([this, check] { probe(check); });
    });
  });
}

void HealthChecks::probe(const std::shared_ptr<Check>& check) {
  if (check->over) return;
  // Nobody answers while paused, and that is no illness.
  if (check->container->snapshot()->status() != Status::kRunning) return schedule(check);
  auto probe = std::make_shared<Probe>();
  probe->check = check;
  probe->start_ns = now_ns();
  spec::ExecConfig config;
  config.cmd.items = check->plan.command;
  config.attach_stdout = config.attach_stderr = true;
  auto created = execs_.create(check->container, config);
  if (!created) return finish(probe, created.error());
  probe->exec_id = *created;
  auto pair = sys::socket_pair(SOCK_STREAM);
  if (!pair) return finish(probe, pair.error());
  probe->socket = std::move(pair->first);
  if (auto set = sys::set_nonblocking(probe->socket.get(), true); !set) return finish(probe, set.error());
  auto started = execs_.start(probe->exec_id, {}, [&]() -> Result<monitor::Attachment> {
    return monitor::Attachment{std::move(pair->second), {}, {}};
  });
  if (!started) return finish(probe, started.error());
  services_.loop.post([this, probe] {
    probe->timer = services_.loop.after_ms(std::max<int64_t>(probe->check->plan.timeout / kMs, 1),
                                           [this, probe] { time_out(probe); });
    auto added = services_.loop.add(probe->socket.get(), EPOLLIN, [this, probe](uint32_t) { read_output(probe); });
    if (!added) finish(probe, added.error());
  });
}

void HealthChecks::read_output(const std::shared_ptr<Probe>& probe) {
  char buffer[16 << 10];
  ssize_t got = read(probe->socket.get(), buffer, sizeof buffer);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0) {
    size_t room = kMaxRead - std::min(kMaxRead, probe->frames.size());
    probe->frames.append(buffer, std::min(static_cast<size_t>(got), room));
    return;
  }
  services_.loop.remove(probe->socket.get());
  services_.loop.cancel(probe->timer);
  services_.executor.post([this, probe] { finish(probe, std::nullopt); });
}

void HealthChecks::time_out(const std::shared_ptr<Probe>& probe) {
  if (probe->done || probe->late) return;
  probe->late = true;
  services_.executor.post([this, probe] {
    auto shown = execs_.inspect(probe->exec_id);
    if (!shown || !shown->running || shown->pid <= 0) return;
    // Its end closes the socket, and that ends the probe.
    if (auto pidfd = sys::open_pidfd(static_cast<pid_t>(shown->pid)))
      if (auto sent = sys::signal_pidfd(pidfd->get(), SIGKILL); !sent)
        log_debug("%s, ignoring", sent.error().message.c_str());
  });
}

void HealthChecks::finish(const std::shared_ptr<Probe>& probe, std::optional<Error> error) {
  if (probe->done.exchange(true)) return;
  spec::HealthResult result;
  result.start = format_rfc3339(probe->start_ns);
  result.end = format_rfc3339(now_ns());
  if (probe->late) {
    result.exit_code = -1;
    result.output =
        format("Health check exceeded timeout (%lld ms)", static_cast<long long>(probe->check->plan.timeout / kMs));
  } else if (error) {
    result.exit_code = -1;
    result.output = error->message;
  } else {
    auto shown = execs_.inspect(probe->exec_id);
    result.exit_code = shown && shown->exit_code ? *shown->exit_code : -1;
    result.output = without_frames(probe->frames);
  }
  take_result(probe->check, std::move(result), probe->start_ns);
}

void HealthChecks::take_result(const std::shared_ptr<Check>& check, spec::HealthResult result, int64_t start_ns) {
  std::string before, after;
  {
    auto operation = check->container->begin_operation();
    ContainerRecord record = *check->container->snapshot();
    if (check->over || !record.health) return;
    before = record.health->status;
    note_probe(*record.health, check->plan, result, start_ns, check->started_ns);
    after = record.health->status;
    // The log of probes is for readers; only a change is worth a row.
    if (before == after) {
      check->container->publish(std::move(record));
    } else {
      if (auto saved = services_.containers.save(*check->container, record, db::Durability::kRelaxed); !saved)
        log_error("container %s: %s", check->container->id().c_str(), saved.error().message.c_str());
      services_.events.publish_container(record, "health_status: " + after);
    }
  }
  if (before != after && after == "unhealthy") act_on_failure(check->container);
  if (!check->over) schedule(check);
}

void HealthChecks::act_on_failure(const ContainerPtr& container) {
  auto config = container->snapshot()->config;
  std::string action = config.healthcheck ? config.healthcheck->on_failure : "";
  Result<> done;
  if (action == "kill")
    done = lifecycle_.kill_unhealthy(container);
  else if (action == "stop")
    done = lifecycle_.stop(container, std::nullopt, "");
  else if (action == "restart")
    done = lifecycle_.restart(container, std::nullopt, "");
  if (!done && done.error().kind != ErrorKind::kNotModified)
    log_warn("container %s is unhealthy: %s", container->id().substr(0, 12).c_str(), done.error().message.c_str());
}

}  // namespace caisson::engine
