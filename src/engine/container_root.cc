// SPDX-License-Identifier: Apache-2.0
#include "engine/container_root.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/ids.h"
#include "base/log.h"
#include "engine/mount_plan.h"
#include "image/vfs.h"
#include "sys/files.h"
#include "sys/mount.h"
#include "sys/process.h"

namespace caisson::engine {

Result<UniqueFd> ContainerRoots::clone_running(const ContainerRecord& record) {
  if (record.status() == Status::kRestarting)
    return fail(ErrorKind::kConflict, "Container %s is restarting, wait until the container is running",
                record.id.c_str());
  auto pidfd = TRY(sys::open_pidfd(static_cast<pid_t>(record.pid)));
  // The number may belong to somebody else by now.
  if (TRY(sys::process_start_time(static_cast<pid_t>(record.pid))) != static_cast<uint64_t>(record.pid_start_time))
    return fail(ErrorKind::kNotFound, "process %lld has ended", static_cast<long long>(record.pid));
  return sys::clone_root_of(pidfd.get());
}

// DOCKER-QUIRK: volumes, binds and the three files in /etc are seen, file systems in memory are not.
Result<std::vector<sys::RootMount>> ContainerRoots::mounts_of(const ContainerRecord& record) {
  std::vector<sys::RootMount> out;
  auto add = [&](const std::string& source, const std::string& target, bool read_only,
                 const std::string& subpath = "") -> Result<> {
    sys::RootMount mount;
    // What a container has written to its volume may not lead out of it.
    auto dir = TRY(sys::open_file(source, O_PATH));
    if (!subpath.empty()) dir = TRY(sys::open_in_root(dir.get(), subpath, O_PATH));
    mount.mount = TRY(sys::clone_mount(dir.get(), "", true));
    TRY(sys::set_mount_attributes(mount.mount.get(), 0, 0, 1 << 18 /* MS_PRIVATE */, true));
    struct stat st {};
    if (fstat(mount.mount.get(), &st) < 0) return fail_errno("stat '%s'", source.c_str());
    mount.target = target;
    mount.is_directory = S_ISDIR(st.st_mode);
    mount.read_only = read_only;
    out.push_back(std::move(mount));
    return {};
  };
  auto is_covered = [&](const std::string& target) {
    return std::any_of(record.mounts.begin(), record.mounts.end(),
                       [&](const auto& point) { return point.destination == target; });
  };
  for (const auto& point : record.mounts) {
    if (point.type == "tmpfs" || point.type == "image") continue;
    auto added = add(point.source, point.destination, !point.rw, subpath_at(record.host_config, point.destination));
    if (!added) return fail(ErrorKind::kIo, "%s", added.error().message.c_str());
  }
  const Paths& paths = services_.paths;
  for (const auto& [source, target] :
       {std::pair{paths.resolv_conf(record.id), "/etc/resolv.conf"},
        std::pair{paths.hostname(record.id), "/etc/hostname"}, std::pair{paths.hosts(record.id), "/etc/hosts"}})
    if (!is_covered(target) && sys::path_exists(source)) TRY(add(source, target, record.host_config.readonly_rootfs));
  std::stable_sort(out.begin(), out.end(), [](const sys::RootMount& a, const sys::RootMount& b) {
    return std::count(a.target.begin(), a.target.end(), '/') < std::count(b.target.begin(), b.target.end(), '/');
  });
  return out;
}

// With the container's operation held.
Result<std::shared_ptr<OpenRoot>> ContainerRoots::open_stopped(Container& container, const ContainerRecord& record) {
  if (auto open = container.open_root().lock()) return open;
  if (record.status() == Status::kRemoving || record.status() == Status::kDead)
    return fail(ErrorKind::kConflict, "container %s is marked for removal", record.id.c_str());
  auto out = std::make_shared<OpenRoot>();
  out->layers = TRY(services_.images.layers(record.image_id));
  image::OverlayOptions options;
  options.is_volatile = record.host_config.auto_remove;
  auto rootfs = TRY_CTX(
      image::mount_root(out->layers, services_.paths.upper(record.id), services_.paths.work(record.id), options),
      "mounting the root file system");
  out->files = TRY(sys::assemble_root(std::move(rootfs), TRY(mounts_of(record)), record.host_config.readonly_rootfs,
                                      services_.paths.temporary()));
  container.open_root() = out;
  return out;
}

Result<RootView> ContainerRoots::open(const ContainerPtr& container) {
  auto operation = container->begin_operation();
  auto record = container->snapshot();
  if (!record->running()) return RootView{TRY(open_stopped(*container, *record))};
  auto rootfs = clone_running(*record);
  operation.unlock();
  if (!rootfs) return std::unexpected(rootfs.error());
  auto out = std::make_shared<OpenRoot>();
  out->files = TRY(sys::assemble_root(std::move(*rootfs), TRY(mounts_of(*record)), record->host_config.readonly_rootfs,
                                      services_.paths.temporary()));
  return RootView{std::move(out)};
}

Result<RootView> ContainerRoots::open_bare(const ContainerPtr& container) {
  auto operation = container->begin_operation();
  auto record = container->snapshot();
  auto out = std::make_shared<OpenRoot>();
  if (record->running()) {
    out->files.root = TRY(clone_running(*record));
    return RootView{std::move(out)};
  }
  auto stopped = TRY(open_stopped(*container, *record));
  // A start that had the spare mount has ended meanwhile.
  if (!stopped->files.spare)
    return fail(ErrorKind::kConflict, "container %s is being read and was started meanwhile, try again",
                record->id.c_str());
  out->files.root.reset(fcntl(stopped->files.spare.get(), F_DUPFD_CLOEXEC, 3));
  out->base = stopped;
  return RootView{std::move(out)};
}

Result<ContainerRoots::Layers> ContainerRoots::open_layers(const ContainerRecord& record) {
  Layers out;
  out.chain = TRY(services_.images.layers(record.image_id));
  out.lower = TRY_CTX(image::mount_root(out.chain, "", "", {.read_only = true}), "mounting the image");
  std::string upper = services_.paths.upper(record.id);
  if (!out.chain.vfs_cache.empty()) {
    // The container's directory is the whole tree; what it has over the image is put together for this look.
    auto tree = TRY(image::mount_root(out.chain, upper, services_.paths.work(record.id), {}));
    std::string changes = services_.paths.temporary() + "/rm-changes-" + random_hex(16);
    TRY(sys::make_dirs(changes));
    out.extracted = std::shared_ptr<void>(nullptr, [changes](void*) {
      if (auto done = sys::remove_tree(changes); !done) log_warn("%s, ignoring", done.error().message.c_str());
    });
    auto target = TRY(sys::open_file(changes, O_RDONLY | O_DIRECTORY));
    auto changed = TRY(sys::open_file(upper, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    TRY_CTX(image::extract_changes(out.lower.get(), changed.get(), target.get()), "comparing with the image");
    upper = changes;
  }
  out.upper = TRY(sys::open_file(upper, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  out.directories = out.chain.directories;
  out.directories.push_back(upper);
  return out;
}

}  // namespace caisson::engine
