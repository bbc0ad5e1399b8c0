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
#include <string_view>

#include "runtime/child_root.h"
#include "sys/raw_calls.h"

namespace caisson::runtime {

namespace raw = sys::raw;

namespace {

// Nearly all devices lie in one directory: it is looked up once.
class ParentDirectory {
 public:
  ParentDirectory() = default;
  ParentDirectory(const ParentDirectory&) = delete;
  ParentDirectory& operator=(const ParentDirectory&) = delete;
  ~ParentDirectory() {
    if (fd_ >= 0) close(fd_);
  }

  // The directory of an absolute path, made when missing.
  int open(const ChildSetup& setup, std::string_view path) {
    std::string_view directory = path.substr(0, path.rfind('/'));
    if (fd_ >= 0 && directory == path_) return fd_;
    if (fd_ >= 0) close(fd_);
    char text[PATH_MAX];
    if (directory.size() >= sizeof text) {
      errno = ENAMETOOLONG;
      child_fail(setup, "make the directory of", path.data());
    }
    memcpy(text, directory.data(), directory.size());
    text[directory.size()] = 0;
    fd_ = *text ? raw::open_in_root(setup.rootfs, text, O_PATH | O_DIRECTORY) : dup(setup.rootfs);
    if (fd_ < 0 && errno == ENOENT) fd_ = child_make_path(setup.rootfs, text, false);
    if (fd_ < 0) child_fail(setup, "make the directory of", path.data());
    path_ = directory;
    return fd_;
  }

 private:
  std::string_view path_;
  int fd_ = -1;
};

bool is_device(const struct stat& info, const Device& device) {
  return (info.st_mode & S_IFMT) == (device.mode & S_IFMT) && info.st_rdev == makedev(device.major, device.minor);
}

// In a user namespace the kernel refuses mknod: the host's node is mounted in its place.
void bind_device(const ChildSetup& setup, const Device& device, int parent, const char* name) {
  const char* path = device.path.c_str();
  int source = open(path, O_PATH | O_CLOEXEC);
  struct stat info {};
  if (source < 0 || fstat(source, &info) < 0) child_fail(setup, "open the host's", path);
  if (!is_device(info, device)) {
    errno = ENODEV;
    child_fail(setup, "not the same device as the host's", path);
  }
  int target = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_WRONLY, 0666);
  if (target < 0 && errno == EEXIST) {
    target = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat there {};
    // Something else than a file to mount on is left alone, as by mknod.
    if (target >= 0 && (fstat(target, &there) < 0 || !S_ISREG(there.st_mode))) {
      close(target);
      close(source);
      return;
    }
  }
  int mount = target < 0 ? -1 : raw::clone_mount(source, false);
  if (mount < 0 || raw::set_mount(mount, 0, 0, MS_PRIVATE, false) < 0 || raw::attach_mount(mount, target) < 0)
    child_fail(setup, "mount the host's", path);
  close(mount);
  close(target);
  close(source);
}

void make_device(const ChildSetup& setup, const Device& device, int parent, bool user_namespace) {
  const char* name = device.path.c_str() + device.path.rfind('/') + 1;
  if (user_namespace && !S_ISFIFO(device.mode)) return bind_device(setup, device, parent, name);
  if (mknodat(parent, name, device.mode, makedev(device.major, device.minor)) == 0) {
    if ((device.uid || device.gid) && fchownat(parent, name, device.uid, device.gid, AT_SYMLINK_NOFOLLOW) < 0)
      child_fail(setup, "chown", device.path.c_str());
  } else if (errno == EPERM) {
    bind_device(setup, device, parent, name);
  } else if (errno != EEXIST) {
    // What is there already stays, whatever it is: so do runc and crun.
    child_fail(setup, "mknod", device.path.c_str());
  }
}

void make_links(const ChildSetup& setup, int dev) {
  static constexpr const char* kLinks[][2] = {{"/proc/self/fd", "fd"},
                                              {"/proc/self/fd/0", "stdin"},
                                              {"/proc/self/fd/1", "stdout"},
                                              {"/proc/self/fd/2", "stderr"},
                                              {"/proc/kcore", "core"}};
  bool has_core = access("/proc/kcore", F_OK) == 0;
  for (auto [target, name] : kLinks)
    if ((*name != 'c' || has_core) && symlinkat(target, dev, name) < 0 && errno != EEXIST)
      child_fail(setup, "symlink in /dev", name);
  // An image's own would lead to another instance of devpts.
  if (symlinkat("pts/ptmx", dev, "ptmx") < 0 &&
      (errno != EEXIST || unlinkat(dev, "ptmx", 0) < 0 || symlinkat("pts/ptmx", dev, "ptmx") < 0))
    child_fail(setup, "symlink in /dev", "ptmx");
}

// The host's, in our copy of its mounts; a masked file must not become a door to something else.
int open_null(const ChildSetup& setup) {
  int null = open("/dev/null", O_PATH | O_CLOEXEC);
  struct stat info {};
  if (null < 0 || fstat(null, &info) < 0) child_fail(setup, "open", "/dev/null");
  if (!S_ISCHR(info.st_mode) || info.st_rdev != makedev(1, 3)) {
    errno = ENODEV;
    child_fail(setup, "not the null device", "/dev/null");
  }
  return null;
}

}  // namespace

void child_make_devices(const ChildSetup& setup) {
  bool user_namespace = child_in_user_namespace(setup);
  ParentDirectory parent;
  for (const auto& device : setup.plan->devices) {
    // Always the container's own, see make_links().
    if (setup.plan->default_dev_links && device.path == "/dev/ptmx") continue;
    make_device(setup, device, parent.open(setup, device.path), user_namespace);
  }
  if (setup.plan->default_dev_links) make_links(setup, parent.open(setup, "/dev/ptmx"));
  // What the terminal will be mounted on, as /dev may be read-only by then.
  if (setup.process.plan->terminal && mknodat(parent.open(setup, "/dev/console"), "console", S_IFREG | 0620, 0) < 0 &&
      errno != EEXIST)
    child_fail(setup, "create", "/dev/console");
}

void child_mask_paths(const ChildSetup& setup) {
  static const std::vector<PreparedOption> kNone;
  if (setup.plan->masked_paths.empty()) return;
  int null = -1;
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
      if (null < 0) null = open_null(setup);
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
  if (null >= 0) close(null);
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
