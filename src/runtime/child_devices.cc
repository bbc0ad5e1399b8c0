// SPDX-License-Identifier: Apache-2.0
// Device nodes and the links of /dev, masked and read-only paths.
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "runtime/child_root.h"
#include "sys/raw_calls.h"

namespace caisson::runtime {

namespace raw = sys::raw;

namespace {

// The parent directory of a node, made when missing, and the node's name.
int open_parent(const ChildSetup& setup, const char* path, const char** name) {
  char parent[PATH_MAX];
  const char* slash = strrchr(path, '/');
  size_t size = static_cast<size_t>(slash - path);  // builder: absolute paths only
  if (size >= sizeof parent) {
    errno = ENAMETOOLONG;
    child_fail(setup, "mknod", path);
  }
  memcpy(parent, path, size);
  parent[size] = 0;
  *name = slash + 1;
  int fd = child_make_path(setup.rootfs, parent, false);
  if (fd < 0) child_fail(setup, "make the directory of", path);
  return fd;
}

// In a user namespace the kernel refuses mknod: the host's node is mounted in its place.
void bind_device(const ChildSetup& setup, const Device& device, int parent, const char* name) {
  int source = open(device.path.c_str(), O_PATH | O_CLOEXEC);
  struct stat info {};
  if (source < 0 || fstat(source, &info) < 0) child_fail(setup, "open the host's", device.path.c_str());
  if ((info.st_mode & S_IFMT) != (device.mode & S_IFMT) || info.st_rdev != makedev(device.major, device.minor)) {
    errno = EPERM;
    child_fail(setup, "mknod", device.path.c_str());
  }
  int made = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_WRONLY, 0666);
  int mount = made < 0 ? -1 : raw::clone_mount(source, false);
  if (mount < 0 || raw::attach_mount(mount, made) < 0) child_fail(setup, "mount the host's", device.path.c_str());
  close(mount);
  close(made);
  close(source);
}

}  // namespace

void child_make_devices(const ChildSetup& setup) {
  for (const auto& device : setup.plan->devices) {
    const char* name;
    int parent = open_parent(setup, device.path.c_str(), &name);
    if (mknodat(parent, name, device.mode, makedev(device.major, device.minor)) == 0) {
      if ((device.uid || device.gid) && fchownat(parent, name, device.uid, device.gid, AT_SYMLINK_NOFOLLOW) < 0)
        child_fail(setup, "chown", device.path.c_str());
    } else if (errno == EPERM) {
      bind_device(setup, device, parent, name);
    } else if (errno != EEXIST) {
      child_fail(setup, "mknod", device.path.c_str());
    }
    close(parent);
  }
  if (!setup.plan->default_dev_links) return;
  static constexpr const char* kLinks[][2] = {{"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"},
                                              {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
                                              {"pts/ptmx", "ptmx"},          {"/proc/kcore", "core"}};
  bool has_core = access("/proc/kcore", F_OK) == 0;
  int dev = child_make_path(setup.rootfs, "dev", false);
  if (dev < 0) child_fail(setup, "open", "/dev");
  for (auto [target, name] : kLinks)
    if ((*name != 'c' || has_core) && symlinkat(target, dev, name) < 0 && errno != EEXIST)
      child_fail(setup, "symlink in /dev", name);
  close(dev);
}

void child_mask_paths(const ChildSetup& setup) {
  static const std::vector<PreparedOption> kNone;
  if (setup.plan->masked_paths.empty()) return;
  // The host's, in our copy of its mounts; a masked file must not become a door to something else.
  int null = open("/dev/null", O_PATH | O_CLOEXEC);
  struct stat null_info {};
  if (null < 0 || fstat(null, &null_info) < 0) child_fail(setup, "open", "/dev/null");
  if (!S_ISCHR(null_info.st_mode) || null_info.st_rdev != makedev(1, 3)) {
    errno = ENODEV;
    child_fail(setup, "not the null device", "/dev/null");
  }
  int empty = -1;  // the first masked directory's tmpfs; the others show clones of it
  for (const auto& path : setup.plan->masked_paths) {
    int target = raw::open_in_root(setup.rootfs, path.c_str(), O_PATH);
    if (target < 0) {
      if (errno == ENOENT || errno == ENOTDIR) continue;
      child_fail(setup, "mask", path.c_str());
    }
    struct stat info {};
    if (fstat(target, &info) < 0) child_fail(setup, "mask", path.c_str());
    int mount;
    if (!S_ISDIR(info.st_mode)) {
      mount = raw::clone_mount(null, false);
    } else if (empty < 0) {
      mount = empty = child_new_file_system(setup, "tmpfs", "tmpfs", kNone, MOUNT_ATTR_RDONLY, path.c_str());
    } else {
      mount = raw::clone_mount(empty, false);
    }
    if (mount < 0) child_fail(setup, "mask", path.c_str());
    if (raw::attach_mount(mount, target) < 0) child_fail(setup, "mask", path.c_str());
    if (mount != empty) close(mount);
    close(target);
  }
  close(null);
}

void child_protect_paths(const ChildSetup& setup) {
  for (const auto& path : setup.plan->readonly_paths) {
    int target = raw::open_in_root(setup.rootfs, path.c_str(), O_PATH);
    if (target < 0) {
      if (errno == ENOENT || errno == ENOTDIR) continue;
      child_fail(setup, "make read-only", path.c_str());
    }
    int mount = raw::clone_mount(target, true);
    if (mount < 0 || raw::set_mount(mount, MOUNT_ATTR_RDONLY, 0, MS_PRIVATE, true) < 0 ||
        raw::attach_mount(mount, target) < 0)
      child_fail(setup, "make read-only", path.c_str());
    close(mount);
    close(target);
  }
}

}  // namespace caisson::runtime
