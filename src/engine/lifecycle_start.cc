// SPDX-License-Identifier: Apache-2.0
// Lifecycle: from created or exited to running.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "engine/container_root.h"
#include "engine/hook_files.h"
#include "engine/host_files.h"
#include "engine/image_mounts.h"
#include "engine/lifecycle.h"
#include "engine/links.h"
#include "engine/mount_plan.h"
#include "engine/network_links.h"
#include "engine/port_plan.h"
#include "engine/seccomp_choice.h"
#include "engine/spec_builder.h"
#include "engine/start_facts.h"
#include "runtime/plan_builder.h"
#include "sys/copy_tree.h"
#include "sys/files.h"
#include "sys/netns.h"
#include "sys/process.h"

namespace caisson::engine {

namespace {

constexpr int kPreviousMonitorMs = 3000;

// The monitor of the last run may still be flushing to slow clients; it removes its socket and cgroup
// when it goes, so a new one must not begin before.
void await_previous_monitor(const ContainerRecord& record) {
  int64_t monitor_pid = record.monitor_pid;
  if (monitor_pid <= 0) return;
  auto pidfd = sys::open_pidfd(static_cast<pid_t>(monitor_pid));
  if (!pidfd) return;
  // Read after the pidfd was opened: whoever has the number now is the one that the pidfd names, or is gone.
  auto line = sys::read_file(format("/proc/%lld/cmdline", static_cast<long long>(monitor_pid)), 4096);
  if (!line || !line->starts_with("caisson-monitor") || !line->contains(record.id)) return;
  pollfd entry{pidfd->get(), POLLIN, 0};
  if (poll(&entry, 1, kPreviousMonitorMs) == 0)
    log_warn("monitor %lld of the last run is still there", static_cast<long long>(monitor_pid));
}

// A failed exec is the caller's mistake, not ours: status 400 and the exit code a shell would give.
struct StartFailure {
  int exit_code = 128;
  Error error;
};
StartFailure explain(Error error) {
  StartFailure failure;
  bool about_program = error.message.find("exec: ") != std::string::npos;
  if (about_program && error.kind == ErrorKind::kNotFound) failure.exit_code = 127;
  if (about_program && (error.kind == ErrorKind::kDenied || error.kind == ErrorKind::kInvalid)) failure.exit_code = 126;
  if (about_program) {
    error.kind = ErrorKind::kInvalid;
    error.message = "failed to create task for container: unable to start container process: " + error.message;
  } else if (error.kind == ErrorKind::kConflict || error.kind == ErrorKind::kNotFound ||
             error.kind == ErrorKind::kExists) {
    // 404 and 409 on this route mean the container itself.
    error.kind = ErrorKind::kInternal;
  }
  failure.error = std::move(error);
  return failure;
}

}  // namespace

Result<> Lifecycle::start(const ContainerPtr& container) { return start_counted(container, 0); }

Result<> Lifecycle::start_counted(const ContainerPtr& container, int64_t restart_count) {
  auto operation = container->begin_operation();
  ContainerRecord record = *container->snapshot();
  switch (record.status()) {
    case Status::kRestarting:
    case Status::kRunning: return fail(ErrorKind::kNotModified, "container is already running");
    case Status::kPaused: return fail(ErrorKind::kConflict, "cannot start a paused container, try unpause instead");
    case Status::kRemoving:
    case Status::kDead: return fail(ErrorKind::kConflict, "container is marked for removal and cannot be started");
    case Status::kCreated:
    case Status::kExited: break;
  }
  record.restart_count = restart_count;
  auto launched = launch(*container, record);
  container->pending_attachments().clear();
  if (!launched) {
    StartFailure failure = explain(std::move(launched).error());
    record = *container->snapshot();
    record.exit_code = failure.exit_code;
    record.error = failure.error.message;
    if (auto saved = services_.containers.save(*container, record, db::Durability::kRelaxed); !saved)
      log_warn("%s, ignoring", saved.error().message.c_str());
    if (record.host_config.auto_remove) {
      if (auto removed = remove_locked(*container, true); !removed) log_warn("%s", removed.error().message.c_str());
    }
    return std::unexpected(std::move(failure.error));
  }
  services_.events.publish_connected(record);
  services_.events.publish_container(record, "start");
  auto subscription = monitor::subscribe(services_.paths.run(record.id));
  if (auto saved = services_.containers.save(*container, record, db::Durability::kRelaxed); !saved) return saved;
  if (subscription) {
    if (observer_) observer_->run_began(container);
    watch(container, std::move(*subscription));
    operation.unlock();
    tell_linking_containers(services_, record);
    return {};
  }
  // It may have ended already; then its exit record is there.
  auto exit = monitor::read_exit_record(services_.paths.container(record.id));
  finish_exit(*container, std::move(record), exit.value_or(monitor::ExitRecord{255, false, 0, now_ns(), 0, ""}));
  return {};
}

// What the image has at the place of an empty volume becomes the volume's first content.
Result<> Lifecycle::fill_new_volumes(const ContainerRecord& record, int rootfs) {
  for (const auto& planned : TRY(plan_mounts(record.config, record.host_config, record.inherited_mounts))) {
    if (planned.point.type != "volume" || planned.no_copy) continue;
    auto stored = std::find_if(record.mounts.begin(), record.mounts.end(), [&](const spec::MountPoint& point) {
      return point.destination == planned.point.destination;
    });
    if (stored == record.mounts.end()) continue;
    if (!TRY(sys::list_dir(stored->source)).empty()) continue;
    auto source = sys::open_in_root(rootfs, planned.point.destination.substr(1), O_RDONLY | O_DIRECTORY);
    if (!source) continue;  // the image has nothing there
    auto target = TRY(sys::open_file(stored->source, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    TRY_CTX(sys::copy_tree(source->get(), target.get()),
            "copying the image's content into volume '" + stored->name + "'");
  }
  return {};
}

Result<std::vector<std::string>> Lifecycle::image_layers_of(const ContainerRecord& record,
                                                            const std::string& destination,
                                                            const std::string& subpath) {
  for (const auto& point : record.mounts)
    if (point.type == "image" && point.destination == destination)
      return image_mount_layers(TRY(services_.images.layers(point.name)).directories, subpath);
  return fail(ErrorKind::kInternal, "the image mounted at '%s' is not known", destination.c_str());
}

Result<> Lifecycle::launch(Container& container, ContainerRecord& record) {
  const auto& host = record.host_config;
  const Paths& paths = services_.paths;
  await_previous_monitor(record);
  Rollback undo;
  auto chain = TRY(services_.images.layers(record.image_id));
  services_.images.note_use(record.image_id);
  image::OverlayOptions overlay_options;
  overlay_options.is_volatile = host.auto_remove;
  monitor::LaunchRequest request;
  // One upper directory is never mounted twice.
  if (auto open = container.open_root().lock(); open && open->files.spare)
    request.rootfs = std::move(open->files.spare);
  else
    request.rootfs = TRY_CTX(image::mount_root(chain, paths.upper(record.id), paths.work(record.id), overlay_options),
                             "mounting the root file system");

  SpecFacts facts;
  facts.limits = services_.limits;
  facts.user = TRY(runtime::resolve_user(request.rootfs.get(), record.config.user, host.group_add));
  TRY(fill_new_volumes(record, request.rootfs.get()));
  TRY(find_shared_namespaces(record, services_.containers, facts));
  TRY(take_network_names(record, services_.containers, facts));
  facts.host_devices = TRY(find_host_devices(host));
  facts.block_io = TRY(find_block_limits(host));
  TRY(find_devices_by_request(host));
  for (const auto& planned : TRY(plan_mounts(record.config, host, record.inherited_mounts)))
    if (planned.point.type == "image")
      facts.image_layers[planned.point.destination] =
          TRY(image_layers_of(record, planned.point.destination, planned.subpath));
  if (host.init.value_or(false)) facts.init_program = init_program(services_.options);

  HostFileFacts names;
  if (has_networks(host)) {
    auto ports = TRY(plan_ports(record, services_.containers));
    auto attached = attach_networks(services_, record, ports, names);
    if (!attached)
      return with_context(attached.error(),
                          "driver failed programming external connectivity on endpoint " + record.name);
    undo.add([this, &record] {
      forget_names(services_, record);
      services_.network.detach(record.id);
      services_.lans.detach(record.id);
      services_.cni.detach(record.id);
      record.endpoints.clear();
    });
    request.netns = std::move(*attached);
    auto linked = TRY(linked_containers(record, services_.containers));
    for (const auto& other : linked)
      names.links.emplace_back(other.record->endpoint_in("bridge")->address, link_host_names(other));
    facts.link_environment = link_environment(record.name, linked);
  } else if (auto path = joined_namespace(host); !path.empty()) {
    request.netns = TRY_CTX(sys::open_network_namespace(path), "joining a network namespace");
  } else if (host.network_mode == "none") {
    request.netns = std::move(TRY(services_.network.create_sandbox()).netns);
  } else {
    names.host_network = host.network_mode == "host";
  }
  TRY(write_host_files(record, services_.options, paths, names));

  std::string run_dir = paths.run(record.id);
  TRY(sys::remove_tree(run_dir));
  TRY(sys::make_dirs(run_dir, 0700));
  undo.add([run_dir] {
    if (auto removed = sys::remove_tree(run_dir); !removed) log_debug("%s, ignoring", removed.error().message.c_str());
  });

  auto spec = TRY(build_spec(record, paths, facts));
  TRY(place_secrets(host.secrets, services_.secrets, run_dir, spec));
  if (!services_.options.hooks_dirs.empty()) spec.hooks = TRY(find_hooks(services_.options.hooks_dirs, record));
  runtime::BuildOptions build;
  build.id = record.id;
  build.rootfs_is_fd = true;
  build.cgroups = services_.cgroups;
  request.plan = TRY(runtime::build_plan(spec, build));
  for (auto& mount : request.plan.mounts)
    if (std::string subpath = subpath_at(host, mount.destination); !subpath.empty())
      mount.beneath = std::exchange(mount.source, subpath);
  // Straight from the cache into the plan: the profile's long list of names never passes through the spec.
  TRY(add_seccomp_filter(record, services_.options, services_.seccomp, request.plan.process));

  TRY(monitor::remove_exit_record(paths.container(record.id)));
  request.monitor_program = services_.monitor_program;
  request.container_id = record.id;
  request.state_dir = run_dir;
  request.record_dir = paths.container(record.id);
  request.open_stdin = record.config.open_stdin;
  request.stdin_once = record.config.stdin_once;
  request.tty = record.config.tty;
  if (host.console_size.size() == 2) {
    request.rows = static_cast<uint16_t>(host.console_size[0]);
    request.columns = static_cast<uint16_t>(host.console_size[1]);
  }
  request.log = TRY(resolved_log_config_of(record, paths));
  request.oom_group = host.oom_policy == "group";
  // Checked when it was given.
  request.restart = *monitor::restart_policy_of(host.restart_policy.name, host.restart_policy.maximum_retry_count);
  request.attachments = std::move(container.pending_attachments());
  record.launching = true;
  TRY(services_.containers.note(record));
  auto running = TRY(monitor::launch(std::move(request)));
  record.launching = false;
  undo.commit();
  reap_later(running.monitor_pid);

  record.set_status(Status::kRunning);
  record.pid = running.pid;
  record.pid_start_time = static_cast<int64_t>(running.pid_start_time);
  record.monitor_pid = running.monitor_pid;
  record.started_ns = running.started_ns;
  record.finished_ns = 0;
  record.exit_code = 0;
  record.oom_killed = false;
  record.error.clear();
  record.has_been_manually_stopped = false;
  return {};
}

}  // namespace caisson::engine
