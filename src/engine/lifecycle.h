// SPDX-License-Identifier: Apache-2.0
// From created to gone: start, stop, kill, pause, exit, remove. The only code that changes a container's
// status. Each call blocks for its own container only; any thread.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "engine/exec_manager.h"
#include "engine/services.h"

namespace caisson::engine {

// Who wants to know of every run of every container, those by a restart policy and those found again at the
// engine's start included. Called with the container's operation held: must not wait.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void run_began(const ContainerPtr& container) = 0;
  virtual void run_ended(const std::string& id) = 0;
};

class Lifecycle {
 public:
  Lifecycle(Services services, ExecManager& execs) : services_(services), execs_(execs) {}

  // kNotModified when it runs already. Kinds of a failed start are kInvalid (the command cannot be
  // executed; the record's exit code says 126 or 127) or what set-up gave.
  Result<> start(const ContainerPtr& container);
  // Signal, then SIGKILL after `timeout_s` (-1: never, absent: the container's own). kNotModified when
  // it does not run.
  Result<> stop(const ContainerPtr& container, std::optional<int64_t> timeout_s, const std::string& signal);
  Result<> restart(const ContainerPtr& container, std::optional<int64_t> timeout_s, const std::string& signal);
  // kConflict when it does not run.
  Result<> kill(const ContainerPtr& container, const std::string& signal);
  Result<> pause(const ContainerPtr& container);
  Result<> unpause(const ContainerPtr& container);
  struct RemoveOptions {
    bool force = false, volumes = false;
  };
  Result<> remove(const ContainerPtr& container, RemoveOptions options);
  Result<> resize(const ContainerPtr& container, uint16_t rows, uint16_t columns);
  Result<> rename(const ContainerPtr& container, const std::string& name);
  // Published ports of a container that runs, and of its next run.
  Result<> change_ports(const ContainerPtr& container, const spec::PortChange& change);
  // kDenied when it is on that network already, or is not.
  Result<> connect(const ContainerPtr& container, const NetworkRecord& network, spec::EndpointSettings settings);
  Result<> disconnect(const ContainerPtr& container, const NetworkRecord& network);

  // Hands a client's socket to the container, now or at its start. `before_handover` runs at the moment
  // when output can no longer be missed (it answers the request).
  Result<> attach(const ContainerPtr& container, monitor::AttachOptions options,
                  std::move_only_function<Result<monitor::Attachment>()> before_handover);

  // At engine start: adopts the containers whose monitors live, and records how the others ended.
  void adopt_all(const std::vector<ContainerPtr>& containers);
  void set_observer(RunObserver& observer) { observer_ = &observer; }  // before anything else is asked
  // SIGKILL that the restart policy may answer.
  Result<> kill_unhealthy(const ContainerPtr& container);
  // Once all are adopted: has undone what CNI plugins still have of containers that are gone, and asks them after
  // those that run. Blocks for as long as plugins take.
  void settle_cni();
  // Once all are adopted: starts those that their restart policy wants running.
  void start_at_boot();

 private:
  Result<> start_locked(Container& container, ContainerRecord& record);
  Result<> launch(Container& container, ContainerRecord& record);
  Result<std::vector<std::string>> image_layers_of(const ContainerRecord& record, const std::string& destination,
                                                   const std::string& subpath);
  Result<> fill_new_volumes(const ContainerRecord& record, int rootfs);
  void watch(const ContainerPtr& container, UniqueFd subscription);
  void reap_later(pid_t monitor_pid);
  struct EventQueue;
  void on_monitor_event(const ContainerPtr& container, int subscription, const std::shared_ptr<EventQueue>& queue);
  void handle_event(const ContainerPtr& container, const monitor::Event& event);
  void handle_state(const ContainerPtr& container, const monitor::Running& running);
  void handle_restarting(const ContainerPtr& container, const monitor::ExitRecord& exit);
  void handle_oom(const ContainerPtr& container, const monitor::OomDetails& oom);
  void handle_gone(const ContainerPtr& container);
  void adopt(const ContainerPtr& container, Result<UniqueFd> subscription);
  void adopt_running(const ContainerPtr& container, ContainerRecord record, UniqueFd subscription,
                     const monitor::Event& event);
  void adopt_launching(const ContainerPtr& container, ContainerRecord record, Result<UniqueFd> subscription);
  void end_monitor(int subscription);
  void remove_leftovers(const ContainerRecord& record);
  void handle_exit(const ContainerPtr& container, const monitor::ExitRecord& exit);
  void finish_exit(Container& container, ContainerRecord record, const monitor::ExitRecord& exit);
  Result<> mark_stopped_by_hand(const ContainerPtr& container);
  Result<> start_counted(const ContainerPtr& container, int64_t restart_count);
  void start_later(const std::string& id, int64_t delay_ns);
  void list_doomed_volumes(const ContainerRecord& record, bool volumes);
  Result<> remove_locked(Container& container, bool volumes);
  void release_kernel_objects(const ContainerRecord& record);
  bool wait_stopped(const ContainerPtr& container, int64_t timeout_ms);

  Services services_;
  ExecManager& execs_;
  RunObserver* observer_ = nullptr;
  std::atomic<bool> booting_ = true;  // policies wait until every container is known
};

}  // namespace caisson::engine
