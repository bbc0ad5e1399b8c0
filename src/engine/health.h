// SPDX-License-Identifier: Apache-2.0
// Health checks: a command run inside at intervals, its result in the container's record. Probes run
// as execs; nothing here blocks, and a probe that hangs is killed at its time limit.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/container.h"
#include "engine/exec_manager.h"
#include "engine/lifecycle.h"
#include "engine/services.h"

namespace caisson::engine {

// A check with every default filled in; times in ns.
struct HealthPlan {
  std::vector<std::string> command;  // empty: no check
  int64_t interval = 0, timeout = 0, start_period = 0, start_interval = 0;
  int64_t retries = 0;
};
// Pure. `shell` is the image's SHELL for CMD-SHELL, "/bin/sh -c" when empty.
HealthPlan plan_health(const spec::ContainerConfig& config);

// Takes one result in: streak, status, the log of the last five. Pure. `started_ns`: the container's start.
void note_probe(spec::Health& health, const HealthPlan& plan, const spec::HealthResult& result, int64_t probe_start_ns,
                int64_t started_ns);

class HealthChecks : public RunObserver {
 public:
  HealthChecks(Services services, ExecManager& execs, Lifecycle& lifecycle);
  ~HealthChecks() override;

  // RunObserver; with the container's operation held.
  void run_began(const ContainerPtr& container) override;
  void run_ended(const std::string& id) override;

 private:
  struct Check;
  struct Probe;
  struct State;
  void schedule(const std::shared_ptr<Check>& check);
  void probe(const std::shared_ptr<Check>& check);
  void read_output(const std::shared_ptr<Probe>& probe);
  void time_out(const std::shared_ptr<Probe>& probe);
  void finish(const std::shared_ptr<Probe>& probe, std::optional<Error> error);
  void take_result(const std::shared_ptr<Check>& check, spec::HealthResult result, int64_t start_ns);
  void act_on_failure(const ContainerPtr& container);

  Services services_;
  ExecManager& execs_;
  Lifecycle& lifecycle_;
  std::shared_ptr<State> state_;
};

}  // namespace caisson::engine
