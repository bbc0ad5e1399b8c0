// SPDX-License-Identifier: Apache-2.0
// Lifecycle: what monitors tell of their containers, and starts that no client asked for.
#include <sys/epoll.h>

#include <algorithm>
#include <deque>
#include <mutex>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/lifecycle.h"
#include "engine/network_links.h"
#include "engine/run_state.h"
#include "sys/files.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace caisson::engine {

namespace {

// What the monitor did not do itself: it died, or was given no policy to begin with.
std::optional<int64_t> restart_delay(const ContainerRecord& record, const monitor::ExitRecord& exit) {
  const auto& policy = record.host_config.restart_policy;
  auto known = monitor::restart_policy_of(policy.name, policy.maximum_retry_count);
  if (!known || record.has_been_manually_stopped || !exit.error.empty()) return std::nullopt;
  if (known->max_retries > 0 && exit.restart_count >= known->max_retries) return std::nullopt;
  return monitor::RestartDecision(*known).after_exit(exit.exit_code, exit.finished_ns - exit.started_ns, false);
}

}  // namespace

void Lifecycle::watch(const ContainerPtr& container, UniqueFd subscription) {
  // The loop's callback owns the descriptor: it is closed when the entry is removed.
  services_.loop.post([this, container, owned = std::make_shared<UniqueFd>(std::move(subscription))] {
    int fd = owned->get();
    auto queue = std::make_shared<EventQueue>();
    auto added = services_.loop.add(
        fd, EPOLLIN, [this, container, owned, queue](uint32_t) { on_monitor_event(container, owned->get(), queue); });
    if (!added) log_error("watching container %s: %s", container->id().c_str(), added.error().message.c_str());
  });
}

// The monitor is our child as long as we are the engine that started it; it outlives its container by as
// long as slow clients take.
void Lifecycle::reap_later(pid_t monitor_pid) {
  auto pidfd = sys::open_pidfd(monitor_pid);
  if (!pidfd) return;
  services_.loop.post([this, owned = std::make_shared<UniqueFd>(std::move(*pidfd))] {
    auto added = services_.loop.add(owned->get(), EPOLLIN, [this, owned](uint32_t) {
      auto reaped = sys::reap_child(owned->get());
      if (!reaped || *reaped) services_.loop.remove(owned->get());
    });
    if (!added) log_error("watching a monitor: %s", added.error().message.c_str());
  });
}

// What the monitor tells is carried out one by one, in its order, away from the loop.
struct Lifecycle::EventQueue {
  std::mutex mutex;
  std::deque<monitor::Event> waiting;
  bool in_work = false;
};

void Lifecycle::on_monitor_event(const ContainerPtr& container, int subscription,
                                 const std::shared_ptr<EventQueue>& queue) {
  auto event = monitor::read_event(subscription);
  if (!event) event = monitor::Event{};
  if (event->kind == monitor::Event::Kind::kExecExit)
    return execs_.on_exec_exit(container->id(), event->exec_id, event->exec_exit_code);
  if (event->kind == monitor::Event::Kind::kDetached) {
    auto record = container->snapshot();
    if (event->exec_id.empty()) return services_.events.publish_container(*record, "detach");
    return services_.events.publish_container(*record, "exec_detach", {{"execID", event->exec_id}});
  }
  if (event->kind == monitor::Event::Kind::kGone) services_.loop.remove(subscription);
  {
    std::lock_guard lock(queue->mutex);
    queue->waiting.push_back(std::move(*event));
    if (std::exchange(queue->in_work, true)) return;
  }
  services_.executor.post([this, container, queue] {
    for (;;) {
      monitor::Event next;
      {
        std::lock_guard lock(queue->mutex);
        if (queue->waiting.empty()) {
          queue->in_work = false;
          return;
        }
        next = std::move(queue->waiting.front());
        queue->waiting.pop_front();
      }
      handle_event(container, next);
    }
  });
}

void Lifecycle::handle_event(const ContainerPtr& container, const monitor::Event& event) {
  switch (event.kind) {
    case monitor::Event::Kind::kState: return handle_state(container, event.running);
    case monitor::Event::Kind::kRestarting: return handle_restarting(container, event.exit);
    case monitor::Event::Kind::kExit: return handle_exit(container, event.exit);
    case monitor::Event::Kind::kGone: return handle_gone(container);
    case monitor::Event::Kind::kOom: return handle_oom(container, event.oom);
    case monitor::Event::Kind::kExecExit:
    case monitor::Event::Kind::kDetached: return;
  }
}

void Lifecycle::handle_gone(const ContainerPtr& container) {
  if (!container->snapshot()->running()) return;
  auto exit = monitor::read_exit_record(services_.paths.container(container->id()));
  if (!exit) {
    // It may only have given up on us, for not reading in time.
    if (auto again = monitor::subscribe(services_.paths.run(container->id())))
      return watch(container, std::move(*again));
    // The monitor itself was killed: what it watched over must not go on unwatched.
    auto cgroup = sys::cgroup_paths(services_.cgroups, container->snapshot()->cgroup_path);
    if (auto killed = sys::kill_cgroup(cgroup); !killed) log_warn("%s, ignoring", killed.error().message.c_str());
    // The next start makes it anew.
    if (auto removed = sys::remove_cgroup(cgroup); !removed) log_warn("%s, ignoring", removed.error().message.c_str());
    exit = monitor::ExitRecord{
        137, false, container->snapshot()->started_ns, now_ns(), container->snapshot()->restart_count, ""};
  }
  handle_exit(container, *exit);
}

void Lifecycle::handle_oom(const ContainerPtr& container, const monitor::OomDetails& oom) {
  auto operation = container->begin_operation();
  ContainerRecord record = *container->snapshot();
  if (!record.running()) return;
  std::map<std::string, std::string> attributes;
  if (oom.pid > 0) attributes["pid"] = std::to_string(oom.pid);
  if (!oom.name.empty()) attributes["process"] = oom.name;
  if (oom.memory_limit != UINT64_MAX) attributes["memoryLimit"] = std::to_string(oom.memory_limit);
  if (oom.memory_max_usage > 0) attributes["memoryMaxUsage"] = std::to_string(oom.memory_max_usage);
  if (!std::exchange(record.oom_killed, true))
    if (auto saved = services_.containers.save(*container, record, db::Durability::kRelaxed); !saved)
      log_error("container %s: %s", record.id.c_str(), saved.error().message.c_str());
  services_.events.publish_container(record, "oom", std::move(attributes));
}

// The end of one run, with another to come: the container counts as running all the while.
void Lifecycle::handle_restarting(const ContainerPtr& container, const monitor::ExitRecord& exit) {
  auto operation = container->begin_operation();
  ContainerRecord record = *container->snapshot();
  if (!record.running() || exit.restart_count <= record.restart_count) return;
  bool oom_is_news = exit.oom_killed && !record.oom_killed;
  note_restarting(record, exit);
  if (auto saved = services_.containers.save(*container, record, db::Durability::kRelaxed); !saved)
    log_error("container %s: %s", record.id.c_str(), saved.error().message.c_str());
  if (observer_) observer_->run_ended(record.id);
  execs_.on_container_exit(record.id);
  if (oom_is_news) services_.events.publish_container(record, "oom");
  services_.events.publish_die(record);
  container->notify_restarting({record.exit_code, ""});
}

// The monitor's state: at the beginning of a subscription, and at each start by the policy.
void Lifecycle::handle_state(const ContainerPtr& container, const monitor::Running& running) {
  auto operation = container->begin_operation();
  ContainerRecord record = *container->snapshot();
  if (!record.running() || !apply_state(record, running)) return;
  if (auto saved = services_.containers.save(*container, record, db::Durability::kRelaxed); !saved)
    log_error("container %s: %s", record.id.c_str(), saved.error().message.c_str());
  if (running.restarting) return;
  services_.events.publish_container(record, "start");
  if (observer_) observer_->run_began(container);
}

void Lifecycle::handle_exit(const ContainerPtr& container, const monitor::ExitRecord& exit) {
  auto operation = container->begin_operation();
  ContainerRecord record = *container->snapshot();
  if (!record.running()) return;
  finish_exit(*container, std::move(record), exit);
}

void Lifecycle::release_kernel_objects(const ContainerRecord& record) {
  forget_names(services_, record);
  if (!record.endpoints.empty()) services_.network.detach(record.id);
  services_.lans.detach(record.id);
  services_.cni.detach(record.id);
  if (record.host_config.secrets.empty()) return;
  // The next start writes them anew.
  if (auto gone = sys::remove_tree(services_.paths.run(record.id) + "/secrets"); !gone)
    log_warn("%s", gone.error().message.c_str());
}

void Lifecycle::finish_exit(Container& container, ContainerRecord record, const monitor::ExitRecord& exit) {
  release_kernel_objects(record);
  bool oom_is_news = exit.oom_killed && !record.oom_killed;
  record.set_status(Status::kExited);
  record.exit_code = exit.exit_code;
  record.oom_killed = exit.oom_killed;
  record.finished_ns = exit.finished_ns;
  record.pid = 0;
  auto endpoints = std::exchange(record.endpoints, {});
  record.restart_count = std::max(record.restart_count, exit.restart_count);
  if (!exit.error.empty()) record.error = exit.error;
  auto restart_in = restart_delay(record, exit);
  bool auto_remove = record.host_config.auto_remove;
  int64_t exit_code = record.exit_code;
  // With --rm the row is deleted a moment later: the exit itself need not be stored.
  if (auto_remove) {
    container.publish(std::move(record));
  } else if (auto saved = services_.containers.save(container, std::move(record), db::Durability::kRelaxed); !saved) {
    log_error("container %s: %s", container.id().c_str(), saved.error().message.c_str());
  }
  if (observer_) observer_->run_ended(container.id());
  execs_.on_container_exit(container.id());
  auto ended = container.snapshot();
  if (oom_is_news) services_.events.publish_container(*ended, "oom");
  services_.events.publish_die(*ended);
  services_.events.publish_disconnected(*ended, endpoints);
  container.notify_exit({exit_code, ""});
  if (restart_in && !booting_) start_later(container.id(), *restart_in);
  if (auto_remove) {
    if (auto removed = remove_locked(container, true); !removed)
      log_error("removing container %s: %s", container.id().c_str(), removed.error().message.c_str());
  }
}

void Lifecycle::start_later(const std::string& id, int64_t delay_ns) {
  services_.loop.post([this, id, delay_ns] {
    services_.loop.after_ms(delay_ns / 1000000, [this, id] {
      services_.executor.post([this, id] {
        auto container = services_.containers.find(id);
        if (!container || (*container)->snapshot()->status() != Status::kExited)
          return;  // removed or started meanwhile
        int64_t count = (*container)->snapshot()->restart_count + 1;
        auto started = start_counted(*container, count);
        if (!started)
          log_warn("container %s is not started again: %s", id.substr(0, 12).c_str(), started.error().message.c_str());
      });
    });
  });
}

// Those that the policy wants up, each after those it is linked to or shares namespaces or volumes with.
void Lifecycle::start_at_boot() {
  booting_ = false;
  std::vector<ContainerPtr> left;
  for (const auto& container : services_.containers.list()) {
    auto record = container->snapshot();
    auto policy = monitor::restart_policy_of(record->host_config.restart_policy.name,
                                             record->host_config.restart_policy.maximum_retry_count);
    if (record->status() != Status::kExited || !policy) continue;
    using Kind = monitor::RestartPolicy::Kind;
    bool wanted = policy->kind == Kind::kAlways ||
                  (policy->kind == Kind::kUnlessStopped && !record->has_been_manually_stopped) ||
                  (policy->kind == Kind::kOnFailure && record->exit_code != 0 && !record->has_been_manually_stopped &&
                   (policy->max_retries == 0 || record->restart_count < policy->max_retries));
    if (wanted) left.push_back(container);
  }
  if (left.empty()) return;
  services_.executor.post([this, pending = std::move(left)]() mutable {
    auto waits_for = [&](const ContainerPtr& container) {
      auto record = container->snapshot();
      const auto& host = record->host_config;
      std::vector<std::string> others;
      for (const auto* mode : {&host.network_mode, &host.pid_mode, &host.ipc_mode})
        if (mode->starts_with("container:")) others.push_back(mode->substr(10));
      for (const auto& link : record->links) others.push_back(link.target_id);
      for (const auto& from : host.volumes_from) others.push_back(from.substr(0, from.find(':')));
      return std::any_of(others.begin(), others.end(), [&](const std::string& other) {
        auto peer = services_.containers.find(other);
        return peer && *peer != container && std::find(pending.begin(), pending.end(), *peer) != pending.end();
      });
    };
    while (!pending.empty()) {
      // Those of a circle come in any order: each will say what it misses.
      auto next = std::find_if(pending.begin(), pending.end(), [&](auto& container) { return !waits_for(container); });
      if (next == pending.end()) next = pending.begin();
      ContainerPtr container = *next;
      pending.erase(next);
      auto started = start(container);
      if (!started && started.error().kind != ErrorKind::kNotModified)
        log_error("container %s: %s", container->snapshot()->name.c_str(), started.error().message.c_str());
    }
  });
}

}  // namespace caisson::engine
