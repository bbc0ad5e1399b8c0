// SPDX-License-Identifier: Apache-2.0
// Lifecycle: finding containers again at the engine's start, whatever moment the previous one ended at.
#include <signal.h>

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

constexpr int kFirstStateMs = 500;  // a monitor answers at once, unless it is stopped
// One whose launcher died in the middle takes its container down, which a slow mount may hold up.
constexpr int kUnfinishedLaunchMs = 3000;

}  // namespace

void Lifecycle::adopt_all(const std::vector<ContainerPtr>& containers) {
  // All are asked before the first answer is read: the monitors work at the same time.
  std::vector<Result<UniqueFd>> subscriptions;
  subscriptions.reserve(containers.size());
  for (const auto& container : containers) {
    auto record = container->snapshot();
    subscriptions.push_back(record->running() || record->launching
                                ? monitor::subscribe(services_.paths.run(record->id))
                                : Result<UniqueFd>(fail(ErrorKind::kNotFound, "it does not run")));
  }
  for (size_t i = 0; i < containers.size(); ++i) adopt(containers[i], std::move(subscriptions[i]));
}

void Lifecycle::adopt(const ContainerPtr& container, Result<UniqueFd> subscription) {
  auto operation = container->begin_operation();
  auto before = container->snapshot();
  // Nothing to find out, and copying a record is work: most containers have ended long ago.
  if (!before->running() && !before->launching && before->status() != Status::kRemoving &&
      !before->host_config.auto_remove)
    return;
  ContainerRecord record = *before;
  if (record.launching) return adopt_launching(container, std::move(record), std::move(subscription));
  if (!record.running()) {
    // A removal that was cut short, or a row of --rm that came back after a power loss.
    bool lost = record.host_config.auto_remove && !sys::path_exists(services_.paths.upper(record.id));
    if (record.status() == Status::kRemoving ||
        (record.host_config.auto_remove && (record.status() == Status::kExited || lost)))
      if (auto removed = remove_locked(*container, true); !removed) log_warn("%s", removed.error().message.c_str());
    return;
  }
  if (subscription) {
    monitor::Event event;
    event.kind = monitor::Event::Kind::kOom;  // stands for: nothing was said
    if (sys::wait_readable(subscription->get(), kFirstStateMs))
      if (auto said = monitor::read_event(subscription->get())) event = std::move(*said);
    // One that closes was just about to end.
    if (event.kind != monitor::Event::Kind::kGone)
      return adopt_running(container, std::move(record), std::move(*subscription), event);
  }
  auto exit = monitor::read_exit_record(services_.paths.container(record.id));
  if (exit && exit->finished_ns < record.started_ns) exit = fail(ErrorKind::kNotFound, "an older run's record");
  if (!exit) {
    log_warn("container %s: its monitor is gone without an exit record", record.id.substr(0, 12).c_str());
    remove_leftovers(record);
    exit = monitor::ExitRecord{255, false, record.started_ns, now_ns(), record.restart_count, ""};
  }
  finish_exit(*container, std::move(record), *exit);
}

void Lifecycle::adopt_running(const ContainerPtr& container, ContainerRecord record, UniqueFd subscription,
                              const monitor::Event& event) {
  services_.cni.restore(record.id);
  for (const auto& endpoint : record.endpoints) {
    if (endpoint.driver == kCniDriver) continue;
    auto loaded = load_endpoint(record.id, endpoint);
    auto restored =
        network::is_lan_driver(endpoint.driver) ? services_.lans.restore(loaded) : services_.network.restore(loaded);
    if (!restored) log_error("network of container %s: %s", record.id.c_str(), restored.error().message.c_str());
  }
  // Known before anybody can ask: the policy may have started it again meanwhile, and a pause or its end may have
  // been carried out without having been noted.
  bool changed = record.launching;
  record.launching = false;
  if (event.kind == monitor::Event::Kind::kState) changed = apply_state(record, event.running) || changed;
  if (record.status() == Status::kRunning || record.status() == Status::kPaused) {
    auto frozen = sys::cgroup_frozen(sys::cgroup_paths(services_.cgroups, record.cgroup_path));
    auto real = frozen.value_or(record.status() == Status::kPaused) ? Status::kPaused : Status::kRunning;
    changed = changed || real != record.status();
    record.set_status(real);
  }
  if (changed)
    if (auto saved = services_.containers.save(*container, record, db::Durability::kRelaxed); !saved)
      log_error("container %s: %s", record.id.c_str(), saved.error().message.c_str());
  if (auto names = restore_names(services_, record); !names)
    log_error("names of container %s: %s", record.id.c_str(), names.error().message.c_str());
  log_info("container %s goes on, pid %lld", record.id.substr(0, 12).c_str(), static_cast<long long>(record.pid));
  if (observer_ && record.status() != Status::kRestarting) observer_->run_began(container);
  watch(container, std::move(subscription));
}

// The engine died between the launch of the monitor and the note of it. The monitor either has said that the
// container runs, then it goes on and nothing else tells of it, or it finds that its launcher is gone and ends.
void Lifecycle::adopt_launching(const ContainerPtr& container, ContainerRecord record, Result<UniqueFd> subscription) {
  if (subscription) {
    auto event = sys::wait_readable(subscription->get(), kUnfinishedLaunchMs)
                     ? monitor::read_event(subscription->get())
                     : Result<monitor::Event>(fail(ErrorKind::kTimeout, "its monitor says nothing"));
    if (event && event->kind == monitor::Event::Kind::kState) {
      record.set_status(Status::kRunning);
      record.monitor_pid = event->running.monitor_pid;
      record.finished_ns = 0;
      record.error.clear();
      record.has_been_manually_stopped = false;
      record.started_ns = 0;  // so that the state is news
      return adopt_running(container, std::move(record), std::move(*subscription), *event);
    }
    if (!event) end_monitor(subscription->get());
  }
  record.launching = false;
  // The record of an earlier run was removed before the launch.
  if (auto exit = monitor::read_exit_record(services_.paths.container(record.id))) {
    record.started_ns = exit->started_ns;
    record.error.clear();
    return finish_exit(*container, std::move(record), *exit);
  }
  remove_leftovers(record);
  record.endpoints.clear();
  if (auto saved = services_.containers.save(*container, std::move(record), db::Durability::kRelaxed); !saved)
    log_error("container %s: %s", container->id().c_str(), saved.error().message.c_str());
}

// Whoever is at the other end of the connection, and nobody who has its number by now.
void Lifecycle::end_monitor(int subscription) {
  auto peer = sys::peer_credentials(subscription);
  auto pidfd = peer ? sys::open_pidfd(peer->pid) : Result<UniqueFd>(std::unexpected(peer.error()));
  // Still connected after its pidfd was opened: the number was its own then.
  if (!pidfd || sys::wait_readable(subscription, 0)) return;
  if (auto killed = sys::signal_pidfd(pidfd->get(), SIGKILL); !killed)
    log_debug("%s, ignoring", killed.error().message.c_str());
}

// Of a container whose monitor is dead: nobody watches over its processes any more.
void Lifecycle::remove_leftovers(const ContainerRecord& record) {
  auto cgroup = sys::cgroup_paths(services_.cgroups, record.cgroup_path);
  if (auto killed = sys::kill_cgroup(cgroup); !killed) log_debug("%s, ignoring", killed.error().message.c_str());
  if (auto removed = sys::remove_cgroup(cgroup); !removed) log_debug("%s, ignoring", removed.error().message.c_str());
}

}  // namespace caisson::engine
