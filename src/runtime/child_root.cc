// SPDX-License-Identifier: Apache-2.0
// The container's root: everything up to the pivot, and the pivot.
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "runtime/child_root.h"
#include "sys/files.h"
#include "sys/raw_calls.h"

namespace caisson::runtime {

namespace raw = sys::raw;

namespace {

constexpr uint64_t kProcRootInode = 1;

// The host's procfs, still visible: which namespace a value belongs to goes by who writes. It must be all
// of procfs and nothing else, whatever somebody mounted over parts of it.
int open_proc(const ChildSetup& setup) {
  int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  struct statfs fs {};
  struct stat info {};
  if (proc < 0 || fstatfs(proc, &fs) < 0 || fstat(proc, &info) < 0) child_fail(setup, "open", "/proc");
  if (fs.f_type != PROC_SUPER_MAGIC || info.st_ino != kProcRootInode)
    child_fail(setup, Failure::kNotProcfs, "check", "/proc");
  return proc;
}

void write_sysctls(const ChildSetup& setup) {
  if (setup.sysctls.empty()) return;
  int proc = open_proc(setup);
  for (const auto& sysctl : setup.sysctls) {
    int fd = raw::open_beneath(proc, sysctl.key.c_str() + strlen("/proc/"), O_WRONLY);
    auto size = static_cast<ssize_t>(sysctl.value.size());
    if (fd < 0 || write(fd, sysctl.value.data(), sysctl.value.size()) != size)
      child_fail(setup, "write sysctl", sysctl.key.c_str());
    close(fd);
  }
  close(proc);
}

// An ordinary user's parent could not: see Plan::rootless.
void clone_root(ChildSetup& setup) {
  if (setup.rootfs >= 0) return;
  const char* path = setup.plan->rootfs.c_str();
  setup.rootfs = raw::clone_mount(AT_FDCWD, true, path);
  if (setup.rootfs < 0) child_fail(setup, "root file system", path);
}

// On its own path, where hooks look for it; or on "/" when it has none, or none that we may walk.
void place_root(ChildSetup& setup) {
  const char* path = setup.plan->rootfs.empty() ? "/" : setup.plan->rootfs.c_str();
  int target = open(path, O_PATH | O_CLOEXEC);
  setup.root_on_path = target >= 0 && path[1] != 0;
  if (target < 0) target = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  struct stat info {};
  if (target >= 0 && fstat(setup.rootfs, &info) == 0 && !S_ISDIR(info.st_mode)) {
    errno = ENOTDIR;
    child_fail(setup, "root file system", path);
  }
  if (target < 0 || raw::attach_mount(setup.rootfs, target) < 0) child_fail(setup, "root file system", path);
  close(target);
}

void check_proc(const ChildSetup& setup) {
  // Security labels and much of libc go by /proc: one that is something else would take them in.
  int proc = raw::open_in_root(setup.rootfs, "proc", O_PATH | O_DIRECTORY);
  struct statfs info {};
  if (proc < 0 || fstatfs(proc, &info) < 0 || info.f_type != PROC_SUPER_MAGIC)
    child_fail(setup, Failure::kNotProcfs, "check", "/proc");
  close(proc);
}

void pivot(const ChildSetup& setup) {
  if (fchdir(setup.rootfs) < 0) child_fail(setup, "chdir to the root");
  // The old root ends up on top of the new one, so "." is it once more; see pivot_root(2).
  if (raw::pivot_root(".", ".") < 0) child_fail(setup, "pivot_root");
  if (raw::detach_mount(".") < 0) child_fail(setup, "detach the host's root");
  if (chdir("/") < 0) child_fail(setup, "chdir", "/");
}

// The host's mounts stay below the new root, where only their names are out of reach. Without its procfs and
// sysfs nothing there can be taken for a complete view by which the kernel would allow new ones. Allocates,
// which is safe: the child is single-threaded, and its memory its own.
void drop_views_of_host(const ChildSetup& setup) {
  auto table = sys::read_file("/proc/self/mountinfo");
  if (!table) child_fail(setup, table.error());
  auto lines = split(*table, '\n');
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    auto fields = split(*line, ' ');
    size_t dash = 6;
    while (dash < fields.size() && fields[dash] != "-") ++dash;
    if (dash + 1 >= fields.size() || (fields[dash + 1] != "proc" && fields[dash + 1] != "sysfs")) continue;
    // Mounts of the container carry paths below its root, which covers "/" already: they are not found here.
    const char* path = fields[4].c_str();
    if (raw::detach_mount(path) == 0 || errno == ENOENT) continue;
    if (errno != EINVAL && errno != EPERM) child_fail(setup, "unmount the host's", path);
    if (raw::mount_call("tmpfs", path, "tmpfs", MS_RDONLY, "") < 0 && errno != ENOENT && errno != ENOTDIR)
      child_fail(setup, "cover the host's", path);
  }
}

void move_to_root(const ChildSetup& setup) {
  if (setup.root_on_path) {
    int old_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (old_root < 0 || raw::attach_mount(setup.rootfs, old_root) < 0) child_fail(setup, "move the root to", "/");
    close(old_root);
  }
  drop_views_of_host(setup);
  if (fchdir(setup.rootfs) < 0) child_fail(setup, "chdir to the root");
  if (chroot(".") < 0) child_fail(setup, "chroot");
  if (chdir("/") < 0) child_fail(setup, "chdir", "/");
}

}  // namespace

bool child_in_user_namespace(const ChildSetup& setup) {
  if (setup.plan->create_namespaces & CLONE_NEWUSER) return true;
  for (const auto& join : setup.plan->join_namespaces)
    if (join.type == CLONE_NEWUSER) return true;
  return false;
}

void child_build_root(ChildSetup& setup) {
  // A user namespace of its own has got its copies as slaves of the host's already; and these it may keep.
  if (!child_in_user_namespace(setup) && raw::set_propagation("/", MS_REC | MS_PRIVATE) < 0)
    child_fail(setup, "make the mounts private");
  clone_root(setup);
  if (raw::set_mount(setup.rootfs, 0, 0, MS_PRIVATE, true) < 0) child_fail(setup, "make the root private");
  place_root(setup);
  write_sysctls(setup);
  bool has_proc = false;
  for (auto& prepared : setup.mounts) {
    child_mount(setup, prepared);
    has_proc |= prepared.mount->type == "proc";
  }
  if (setup.make_devices) child_make_devices(setup);
  if (has_proc) check_proc(setup);
  child_mask_paths(setup);
  child_protect_paths(setup);
  const char* cwd = setup.plan->process.cwd.c_str();
  int directory = raw::open_in_root(setup.rootfs, cwd, O_PATH | O_DIRECTORY);
  if (directory < 0) directory = child_make_path(setup.rootfs, cwd, false);
  if (directory < 0) child_fail(setup, "make the working directory", cwd);
  close(directory);
}

void child_pivot(const ChildSetup& setup) {
  const Plan& plan = *setup.plan;
  child_finish_mounts(setup);
  if (plan.readonly_root && raw::set_mount(setup.rootfs, MOUNT_ATTR_RDONLY, 0, 0, false) < 0)
    child_fail(setup, "make the root read-only");
  if (plan.no_pivot)
    move_to_root(setup);
  else
    pivot(setup);
  if (plan.root_propagation &&
      raw::set_mount(setup.rootfs, 0, 0, plan.root_propagation & ~uint64_t{MS_REC}, plan.root_propagation & MS_REC) < 0)
    child_fail(setup, "set the propagation of the root");
}

}  // namespace caisson::runtime
