// SPDX-License-Identifier: Apache-2.0
// The container's root: its mounts one after the other, and the pivot.
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "runtime/child_root.h"
#include "sys/raw_calls.h"

namespace caisson::runtime {

namespace raw = sys::raw;

namespace {

void attach(const ChildSetup& setup, int mount, int target, const char* destination) {
  if (raw::attach_mount(mount, target) < 0) child_fail(setup, "mount on", destination);
}

}  // namespace

int child_new_file_system(const ChildSetup& setup, const char* type, const char* source,
                          const std::vector<PreparedOption>& options, uint64_t attributes, const char* destination) {
  int context = raw::fsopen(type);
  if (context < 0) child_fail(setup, "fsopen", type);
  // Names the mount in /proc/mounts; some file systems refuse it.
  if (*source) raw::fsconfig_string(context, "source", source);
  for (const auto& option : options) {
    int done = option.has_value ? raw::fsconfig_string(context, option.key.c_str(), option.value.c_str())
                                : raw::fsconfig_flag(context, option.key.c_str());
    if (done < 0) child_fail(setup, Failure::kCall, "mount option for", destination, context);
  }
  if (raw::fsconfig_create(context) < 0) child_fail(setup, Failure::kCall, "mount", destination, context);
  int mount = raw::fsmount(context, attributes);
  if (mount < 0) child_fail(setup, Failure::kCall, "mount", destination, context);
  close(context);
  return mount;
}

namespace {

void mount_hierarchies(const ChildSetup& setup, const PreparedMount& prepared, int target) {
  const Mount& mount = *prepared.mount;
  const char* destination = mount.destination.c_str();
  int top = child_new_file_system(setup, "tmpfs", "cgroup", prepared.options,
                                  mount.set_attributes & ~uint64_t{MOUNT_ATTR_RDONLY}, destination);
  attach(setup, top, target, destination);
  for (const auto& hierarchy : prepared.hierarchies) {
    const char* name = hierarchy.name.c_str();
    if (mkdirat(top, name, 0755) < 0) child_fail(setup, "mkdir", name);
    int directory = openat(top, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory < 0) child_fail(setup, "open", name);
    if (raw::set_mount(hierarchy.mount.get(), mount.set_attributes, 0, MS_PRIVATE, false) < 0)
      child_fail(setup, "mount_setattr", name);
    attach(setup, hierarchy.mount.get(), directory, name);
    close(directory);
    for (const auto& link : hierarchy.links)
      if (symlinkat(name, top, link.c_str()) < 0) child_fail(setup, "symlink", link.c_str());
  }
  if ((mount.set_attributes & MOUNT_ATTR_RDONLY) && raw::set_mount(top, MOUNT_ATTR_RDONLY, 0, 0, false) < 0)
    child_fail(setup, "mount_setattr", destination);
  close(top);
}

void check_target(const ChildSetup& setup, const PreparedMount& prepared, int target) {
  const Mount& mount = *prepared.mount;
  if (prepared.may_cover_proc) return;
  struct statfs info {};
  if (fstatfs(target, &info) < 0) child_fail(setup, "fstatfs", mount.destination.c_str());
  if (info.f_type == PROC_SUPER_MAGIC) child_fail(setup, Failure::kOverProc, "mount on", mount.destination.c_str());
}

void do_mount(const ChildSetup& setup, const PreparedMount& prepared) {
  const Mount& mount = *prepared.mount;
  const char* destination = mount.destination.c_str();
  bool file = mount.kind == Mount::Kind::kBind && !prepared.source_is_directory;
  // /proc and /sys are found by their names by everything that follows, here and in the container: they
  // must be where they seem to be.
  bool exact = mount.type == "proc" || mount.type == "sysfs";
  int target = raw::open_in_root(setup.rootfs, destination, O_PATH, 0, exact ? RESOLVE_NO_SYMLINKS : 0);
  if (target < 0 && errno == ENOENT) target = child_make_path(setup.rootfs, destination, file);
  if (target < 0) child_fail(setup, "make the mount point", destination);
  check_target(setup, prepared, target);
  if (mount.kind == Mount::Kind::kCgroup && !prepared.cgroup2) {
    mount_hierarchies(setup, prepared, target);
    close(target);
    return;
  }
  int fd;
  if (mount.kind == Mount::Kind::kBind) {
    fd = prepared.source.get();
    if ((mount.set_attributes | mount.clear_attributes) &&
        raw::set_mount(fd, mount.set_attributes, mount.clear_attributes, 0, false) < 0)
      child_fail(setup, "mount_setattr", destination);
  } else {
    fd = child_new_file_system(setup, prepared.cgroup2 ? "cgroup2" : mount.type.c_str(), mount.source.c_str(),
                               prepared.options, mount.set_attributes, destination);
  }
  if (raw::set_mount(fd, mount.set_attributes_recursive, mount.clear_attributes_recursive,
                     mount.propagation ? mount.propagation : static_cast<uint64_t>(MS_PRIVATE),
                     mount.propagation_recursive || !mount.propagation) < 0)
    child_fail(setup, "mount_setattr", destination);
  attach(setup, fd, target, destination);
  close(target);
  if (mount.kind != Mount::Kind::kBind) close(fd);
}

void write_sysctls(const ChildSetup& setup) {
  // Through the host's procfs, still visible: which namespace a value belongs to goes by who writes.
  for (const auto& sysctl : setup.sysctls) {
    int fd = raw::open_no_magic(AT_FDCWD, sysctl.key.c_str(), O_WRONLY);
    if (fd < 0 || write(fd, sysctl.value.data(), sysctl.value.size()) < 0)
      child_fail(setup, "write sysctl", sysctl.key.c_str());
    close(fd);
  }
}

void pivot(const ChildSetup& setup) {
  if (fchdir(setup.rootfs) < 0) child_fail(setup, "chdir to the root");
  // The old root ends up on top of the new one, so "." is it once more; see pivot_root(2).
  if (raw::pivot_root(".", ".") < 0) child_fail(setup, "pivot_root");
  if (raw::detach_mount(".") < 0) child_fail(setup, "detach the host's root");
  if (chdir("/") < 0) child_fail(setup, "chdir", "/");
}

void check_proc(const ChildSetup& setup) {
  // Security labels and much of libc go by /proc: one that is something else would take them in.
  int proc = raw::open_in_root(setup.rootfs, "proc", O_PATH | O_DIRECTORY);
  struct statfs info {};
  if (proc < 0 || fstatfs(proc, &info) < 0 || info.f_type != PROC_SUPER_MAGIC)
    child_fail(setup, Failure::kNotProcfs, "check", "/proc");
  close(proc);
}

}  // namespace

void child_build_root(const ChildSetup& setup) {
  const Plan& plan = *setup.plan;
  if (raw::set_propagation("/", MS_REC | MS_PRIVATE) < 0) child_fail(setup, "make the mounts private");
  int old_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (old_root < 0) child_fail(setup, "open", "/");
  if (raw::set_mount(setup.rootfs, 0, 0, MS_PRIVATE, true) < 0) child_fail(setup, "make the root private");
  attach(setup, setup.rootfs, old_root, "/");
  close(old_root);
  write_sysctls(setup);
  bool has_proc = false;
  for (const auto& prepared : setup.mounts) {
    do_mount(setup, prepared);
    has_proc |= prepared.mount->type == "proc";
  }
  if (setup.make_devices) child_make_devices(setup);
  if (has_proc) check_proc(setup);
  child_mask_paths(setup);
  child_protect_paths(setup);
  const char* cwd = plan.process.cwd.c_str();
  int directory = raw::open_in_root(setup.rootfs, cwd, O_PATH | O_DIRECTORY);
  if (directory < 0) directory = child_make_path(setup.rootfs, cwd, false);
  if (directory < 0) child_fail(setup, "make the working directory", cwd);
  close(directory);
}

void child_pivot(const ChildSetup& setup) {
  const Plan& plan = *setup.plan;
  if (plan.readonly_root && raw::set_mount(setup.rootfs, MOUNT_ATTR_RDONLY, 0, 0, false) < 0)
    child_fail(setup, "make the root read-only");
  pivot(setup);
  if (plan.root_propagation && raw::set_mount(setup.rootfs, 0, 0, plan.root_propagation, false) < 0)
    child_fail(setup, "set the propagation of the root");
}

}  // namespace caisson::runtime
