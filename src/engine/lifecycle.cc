// SPDX-License-Identifier: Apache-2.0
// Lifecycle: what requests do with a container after its start.
#include "engine/lifecycle.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/create_rules.h"
#include "engine/names.h"
#include "engine/network_links.h"
#include "sys/files.h"
#include "sys/process.h"

namespace caisson::engine {

namespace {
constexpr int64_t kDefaultStopTimeoutS = 10;
constexpr int64_t kKillPatienceMs = 10000;
constexpr size_t kMaxPendingAttachments = 64;

std::unexpected<Error> not_running(const ContainerRecord& record) {
  if (record.status() == Status::kRestarting)
    return fail(ErrorKind::kConflict, "container %s is restarting, wait until the container is running",
                record.id.c_str());
  return fail(ErrorKind::kConflict, "container %s is not running", record.id.c_str());
}

bool peer_gone(int socket) {
  pollfd entry{socket, POLLRDHUP, 0};
  return poll(&entry, 1, 0) > 0 && (entry.revents & (POLLHUP | POLLERR));
}
}  // namespace

bool Lifecycle::wait_stopped(const ContainerPtr& container, int64_t timeout_ms) {
  struct Gate {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
  };
  auto gate = std::make_shared<Gate>();
  uint64_t waiter = container->add_waiter(WaitCondition::kNotRunning, [gate](const WaitOutcome&) {
    std::lock_guard lock(gate->mutex);
    gate->done = true;
    gate->changed.notify_all();
  });
  std::unique_lock lock(gate->mutex);
  auto finished = [&] { return gate->done; };
  if (timeout_ms < 0) {
    gate->changed.wait(lock, finished);
    return true;
  }
  bool done = gate->changed.wait_for(lock, std::chrono::milliseconds(timeout_ms), finished);
  lock.unlock();
  if (!done) container->remove_waiter(waiter);
  return done;
}

Result<> Lifecycle::stop(const ContainerPtr& container, std::optional<int64_t> timeout_s, const std::string& signal) {
  auto record = container->settled_snapshot();
  if (!record->running()) return fail(ErrorKind::kNotModified, "container is already stopped");
  std::string name = !signal.empty()                      ? signal
                     : record->config.stop_signal.empty() ? "SIGTERM"
                                                          : record->config.stop_signal;
  int number = TRY(parse_signal(name));
  int64_t timeout = timeout_s.value_or(record->config.stop_timeout.value_or(kDefaultStopTimeoutS));
  std::string run_dir = services_.paths.run(record->id);
  TRY(mark_stopped_by_hand(container));
  auto send = [&](int what) {
    auto operation = container->begin_operation();  // the end that it brings is told after it
    // A monitor that is gone means a container that is gone: the wait below tells.
    if (auto sent = monitor::signal(run_dir, what, true); !sent)
      log_debug("%s, ignoring", sent.error().message.c_str());
    services_.events.publish_container(*record, "kill", {{"signal", std::to_string(what)}});
    if (container->snapshot()->status() == Status::kPaused) {
      auto cgroup = sys::cgroup_paths(services_.cgroups, record->cgroup_path);
      if (auto thawed = sys::freeze_cgroup(cgroup, false); !thawed)
        log_warn("%s, ignoring", thawed.error().message.c_str());
    }
  };
  auto stopped = [&](int64_t patience_ms) {
    if (!wait_stopped(container, patience_ms)) return false;
    services_.events.publish_container(*record, "stop");
    return true;
  };
  send(number);
  if (stopped(timeout < 0 ? -1 : timeout * 1000)) return {};
  send(SIGKILL);
  if (stopped(kKillPatienceMs)) return {};
  // Processes in uninterruptible sleep, or of a shared pid namespace: everything in the cgroup.
  auto cgroup = sys::cgroup_paths(services_.cgroups, record->cgroup_path);
  TRY(sys::kill_cgroup(cgroup));
  if (stopped(kKillPatienceMs)) return {};
  return fail(ErrorKind::kTimeout, "cannot stop container: %s: it did not end after SIGKILL", record->id.c_str());
}

Result<> Lifecycle::kill_unhealthy(const ContainerPtr& container) {
  return monitor::signal(services_.paths.run(container->id()), SIGKILL);
}

Result<> Lifecycle::mark_stopped_by_hand(const ContainerPtr& container) {
  // Without a policy nobody will ask.
  auto before = container->snapshot();
  if (before->host_config.restart_policy.name.empty() || before->host_config.restart_policy.name == "no" ||
      before->has_been_manually_stopped)
    return {};
  auto operation = container->begin_operation();
  ContainerRecord record = *container->snapshot();
  record.has_been_manually_stopped = true;
  return services_.containers.save(*container, std::move(record), db::Durability::kFull);
}

Result<> Lifecycle::restart(const ContainerPtr& container, std::optional<int64_t> timeout_s,
                            const std::string& signal) {
  auto stopped = stop(container, timeout_s, signal);
  if (!stopped && stopped.error().kind != ErrorKind::kNotModified) return stopped;
  TRY(start(container));
  services_.events.publish_container(*container->snapshot(), "restart");
  return {};
}

Result<> Lifecycle::kill(const ContainerPtr& container, const std::string& signal) {
  int number = signal.empty() ? SIGKILL : TRY(parse_signal(signal));
  auto record = container->settled_snapshot();
  if (!record->running()) return with_context(not_running(*record).error(), "cannot kill container: " + record->id);
  // DOCKER-QUIRK: any signal of a kill ends the policy's hold, unless the container has a stop signal of its own.
  bool last = number == SIGKILL || record->config.stop_signal.empty() ||
              parse_signal(record->config.stop_signal).value_or(0) == number;
  if (last) TRY(mark_stopped_by_hand(container));
  {
    // The end that it brings is told after it.
    auto operation = container->begin_operation();
    TRY(monitor::signal(services_.paths.run(record->id), number, last));
    services_.events.publish_container(*record, "kill", {{"signal", std::to_string(number)}});
  }
  if (number != SIGKILL) return {};
  if (record->status() == Status::kPaused)
    TRY(sys::freeze_cgroup(sys::cgroup_paths(services_.cgroups, record->cgroup_path), false));
  if (!wait_stopped(container, kKillPatienceMs))
    return fail(ErrorKind::kTimeout, "cannot kill container: %s: it did not end after SIGKILL", record->id.c_str());
  return {};
}

Result<> Lifecycle::pause(const ContainerPtr& container) {
  auto operation = container->begin_operation();
  ContainerRecord record = *container->snapshot();
  if (record.status() == Status::kPaused)
    return fail(ErrorKind::kConflict, "container %s is already paused", record.id.c_str());
  if (record.status() != Status::kRunning) return not_running(record);
  TRY(sys::freeze_cgroup(sys::cgroup_paths(services_.cgroups, record.cgroup_path), true));
  record.set_status(Status::kPaused);
  services_.events.publish_container(record, "pause");
  return services_.containers.save(*container, std::move(record), db::Durability::kRelaxed);
}

Result<> Lifecycle::unpause(const ContainerPtr& container) {
  auto operation = container->begin_operation();
  ContainerRecord record = *container->snapshot();
  if (record.status() != Status::kPaused)
    return fail(ErrorKind::kConflict, "container %s is not paused", record.id.c_str());
  TRY(sys::freeze_cgroup(sys::cgroup_paths(services_.cgroups, record.cgroup_path), false));
  record.set_status(Status::kRunning);
  services_.events.publish_container(record, "unpause");
  return services_.containers.save(*container, std::move(record), db::Durability::kRelaxed);
}

Result<> Lifecycle::rename(const ContainerPtr& container, const std::string& name) {
  if (name.empty()) return fail(ErrorKind::kInvalid, "new container name cannot be empty");
  std::string checked = TRY(check_name(name));
  auto operation = container->begin_operation();
  if (container->snapshot()->name == checked)
    return fail(ErrorKind::kInvalid, "Renaming a container with the same name as its current name");
  std::string old_name = container->snapshot()->name;
  TRY(services_.containers.rename(*container, checked));
  renew_own_names(services_, *container->snapshot());
  services_.events.publish_container(*container->snapshot(), "rename", {{"oldName", "/" + old_name}});
  return {};
}

Result<> Lifecycle::resize(const ContainerPtr& container, uint16_t rows, uint16_t columns) {
  auto record = container->settled_snapshot();
  if (!record->running() || record->status() == Status::kRestarting) return not_running(*record);
  TRY(monitor::resize(services_.paths.run(record->id), rows, columns));
  services_.events.publish_container(*record, "resize",
                                     {{"height", std::to_string(rows)}, {"width", std::to_string(columns)}});
  return {};
}

Result<> Lifecycle::attach(const ContainerPtr& container, monitor::AttachOptions options,
                           std::move_only_function<Result<monitor::Attachment>()> before_handover) {
  auto operation = container->begin_operation();
  auto record = container->snapshot();
  if (record->status() == Status::kPaused)
    return fail(ErrorKind::kConflict, "container %s is paused, unpause the container before attach",
                record->id.c_str());
  if (record->status() == Status::kRestarting)
    return fail(ErrorKind::kConflict, "container %s is restarting, wait until the container is running",
                record->id.c_str());
  if (record->status() == Status::kRemoving || record->status() == Status::kDead)
    return fail(ErrorKind::kConflict, "container %s is marked for removal", record->id.c_str());
  // Its log has been sent; what waits for a next start is somebody else's wish.
  if (record->status() == Status::kExited && options.log_after)
    return fail(ErrorKind::kNotModified, "container %s has ended", record->id.c_str());
  auto& pending = container->pending_attachments();
  std::erase_if(pending, [](const monitor::Attachment& old) { return peer_gone(old.socket.get()); });
  if (pending.size() >= kMaxPendingAttachments)
    return fail(ErrorKind::kExhausted, "more than %zu clients wait for container %s to start", kMaxPendingAttachments,
                record->id.c_str());
  auto attachment = TRY(before_handover());
  services_.events.publish_container(*record, "attach");
  options.want_stdin = options.want_stdin && record->config.open_stdin;
  attachment.options = std::move(options);
  if (!record->running()) {
    pending.push_back(std::move(attachment));
    return {};
  }
  operation.unlock();
  return monitor::attach(services_.paths.run(record->id), std::move(attachment));
}

Result<> Lifecycle::remove(const ContainerPtr& container, RemoveOptions options) {
  for (int attempt = 0; attempt < 3; ++attempt) {
    auto record = container->snapshot();
    if (record->running()) {
      if (!options.force)
        return fail(ErrorKind::kConflict,
                    "cannot remove container \"/%s\": container is %s: %s before removing or force remove",
                    record->name.c_str(), record->status_text.c_str(),
                    record->status() == Status::kPaused ? "unpause and then stop the container" : "stop the container");
      auto killed = kill(container, "SIGKILL");
      if (!killed && killed.error().kind != ErrorKind::kConflict && killed.error().kind != ErrorKind::kNotFound &&
          killed.error().kind != ErrorKind::kUnavailable)
        return killed;
      wait_stopped(container, kKillPatienceMs);
    }
    auto operation = container->begin_operation();
    // --rm may have been faster; or a start came in between.
    if (container->snapshot()->status() == Status::kRemoving) return {};
    if (container->snapshot()->running()) continue;
    return remove_locked(*container, options.volumes);
  }
  return fail(ErrorKind::kConflict, "cannot remove container \"%s\": it is started again and again",
              container->id().c_str());
}

// For the next engine, should this one die between the row and the volumes.
void Lifecycle::list_doomed_volumes(const ContainerRecord& record, bool volumes) {
  if (record.anonymous_volumes.empty()) return;
  std::string path = Paths::volume_list(services_.paths.container(record.id));
  auto listed = volumes ? sys::write_file(path, join(record.anonymous_volumes, "\n"), 0600) : sys::remove_file(path);
  // A full disk or a directory that somebody took away is no reason to keep the container.
  if (!listed) log_debug("%s, ignoring", listed.error().message.c_str());
}

Result<> Lifecycle::remove_locked(Container& container, bool volumes) {
  ContainerRecord record = *container.snapshot();
  ContainerRecord before = record;
  record.set_status(Status::kRemoving);
  container.publish(record);
  list_doomed_volumes(record, volumes);
  // The row first: a crash in between leaves a directory without an owner, which the next start removes.
  if (auto forgotten = services_.containers.remove(container); !forgotten) {
    container.publish(std::move(before));
    return forgotten;
  }
  container.pending_attachments().clear();
  std::string trash = services_.paths.temporary() + "/rm-" + random_hex(16);
  if (::rename(services_.paths.container(record.id).c_str(), trash.c_str()) < 0)
    log_warn("removing the directory of container %s: %s", record.id.c_str(), errno_text(errno).c_str());
  services_.executor.post([this, trash, run_dir = services_.paths.run(record.id), volumes,
                           names = record.anonymous_volumes] {
    auto note = [](const Result<>& done) {
      if (!done) log_warn("%s", done.error().message.c_str());
    };
    if (volumes)
      for (const auto& name : names) {
        auto removed = services_.volumes.remove(name);
        if (removed) services_.events.publish({"volume", "destroy", name, {{"driver", "local"}}, 0});
        note(removed);
      }
    note(sys::remove_tree(run_dir));
    note(sys::remove_tree(trash));
    // It may have been the last one on an image that was removed before.
    services_.images.forget_unused([this](const std::string& id) { return services_.containers.users_of_image(id); });
  });
  services_.events.publish_container(record, "destroy");
  container.notify_removed({record.exit_code, ""});
  return {};
}

}  // namespace caisson::engine
