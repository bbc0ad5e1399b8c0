// SPDX-License-Identifier: Apache-2.0
// The container's root: mounts, devices, masks, pivot. Every name below the root is looked up with
// RESOLVE_IN_ROOT and used through its descriptor, so a link that changes under us leads nowhere else.
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "runtime/child.h"
#include "sys/raw_calls.h"

namespace caisson::runtime {

namespace raw = sys::raw;

namespace {

// A path being resolved, in place: links are replaced by what they point to.
struct PathBuffer {
  char text[PATH_MAX];
  bool set(const char* path) {
    size_t size = strlen(path);
    if (size >= sizeof text) {
      errno = ENAMETOOLONG;
      return false;
    }
    memcpy(text, path, size + 1);
    return true;
  }
};

// `buffer` up to `start` is the directory, from `end` on the rest; the component between is a link that
// leads to `target`.
bool splice_link(PathBuffer& buffer, size_t start, size_t end, const char* target, size_t target_size) {
  PathBuffer out;
  size_t keep = target[0] == '/' ? 0 : start;
  size_t rest = strlen(buffer.text + end);
  if (keep + target_size + rest >= sizeof out.text) {
    errno = ENAMETOOLONG;
    return false;
  }
  memcpy(out.text, buffer.text, keep);
  memcpy(out.text + keep, target, target_size);
  memcpy(out.text + keep + target_size, buffer.text + end, rest + 1);
  memcpy(buffer.text, out.text, keep + target_size + rest + 1);
  return true;
}

// Makes what is missing of `path`; `file` says what its last component becomes. A dangling link is
// followed inside the root, as a container would.
int make_path(int root, const char* path, bool file) {
  PathBuffer buffer;
  if (!buffer.set(path)) return -1;
  for (int links = 0; links < 40; ++links) {
    int parent = raw::open_in_root(root, "/", O_PATH | O_DIRECTORY);
    size_t at = 0;
    bool again = false;
    while (parent >= 0 && !again) {
      while (buffer.text[at] == '/') ++at;
      if (!buffer.text[at]) return parent;
      size_t start = at;
      while (buffer.text[at] && buffer.text[at] != '/') ++at;
      size_t end = at;
      while (buffer.text[at] == '/') ++at;
      bool last = !buffer.text[at];
      char saved = buffer.text[end];
      buffer.text[end] = 0;
      int next = raw::open_in_root(root, buffer.text, O_PATH | (last ? 0 : O_DIRECTORY));
      if (next < 0 && errno == ENOENT) {
        const char* name = buffer.text + start;
        bool made;
        if (last && file) {
          int fd = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_WRONLY, 0644);
          made = fd >= 0;
          if (made) close(fd);
        } else {
          made = mkdirat(parent, name, 0755) == 0;
        }
        if (made) {
          next = raw::open_in_root(root, buffer.text, O_PATH | (last ? 0 : O_DIRECTORY));
        } else if (errno == EEXIST) {
          char target[PATH_MAX];
          ssize_t size = readlinkat(parent, name, target, sizeof target);
          if (size > 0 && size < static_cast<ssize_t>(sizeof target)) {
            buffer.text[end] = saved;
            again = splice_link(buffer, start, end, target, static_cast<size_t>(size));
          }
        }
      }
      int err = errno;
      close(parent);
      if (!again) buffer.text[end] = saved;
      errno = err;
      parent = next;
    }
    if (!again) return -1;
    errno = ELOOP;
  }
  return -1;
}

void attach(const ChildSetup& setup, int mount, int target, const char* destination) {
  if (raw::attach_mount(mount, target) < 0) child_fail(setup, "mount on", destination);
}

int new_file_system(const ChildSetup& setup, const char* type, const char* source,
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

void mount_hierarchies(const ChildSetup& setup, const PreparedMount& prepared, int target) {
  const Mount& mount = *prepared.mount;
  const char* destination = mount.destination.c_str();
  int top = new_file_system(setup, "tmpfs", "cgroup", prepared.options, mount.set_attributes & ~uint64_t{MOUNT_ATTR_RDONLY},
                            destination);
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
  if (target < 0 && errno == ENOENT) target = make_path(setup.rootfs, destination, file);
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
    fd = new_file_system(setup, prepared.cgroup2 ? "cgroup2" : mount.type.c_str(), mount.source.c_str(), prepared.options, mount.set_attributes, destination);
  }
  if (raw::set_mount(fd, mount.set_attributes_recursive, mount.clear_attributes_recursive,
                     mount.propagation ? mount.propagation : static_cast<uint64_t>(MS_PRIVATE),
                     mount.propagation_recursive || !mount.propagation) < 0)
    child_fail(setup, "mount_setattr", destination);
  attach(setup, fd, target, destination);
  close(target);
  if (mount.kind != Mount::Kind::kBind) close(fd);
}

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
  int fd = make_path(setup.rootfs, parent, false);
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

void make_devices(const ChildSetup& setup) {
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
  int dev = make_path(setup.rootfs, "dev", false);
  if (dev < 0) child_fail(setup, "open", "/dev");
  for (auto [target, name] : kLinks)
    if ((*name != 'c' || has_core) && symlinkat(target, dev, name) < 0 && errno != EEXIST) child_fail(setup, "symlink in /dev", name);
  close(dev);
}

void write_sysctls(const ChildSetup& setup) {
  // Through the host's procfs, still visible: which namespace a value belongs to goes by who writes.
  for (const auto& sysctl : setup.sysctls) {
    int fd = raw::open_no_magic(AT_FDCWD, sysctl.key.c_str(), O_WRONLY);
    if (fd < 0 || write(fd, sysctl.value.data(), sysctl.value.size()) < 0) child_fail(setup, "write sysctl", sysctl.key.c_str());
    close(fd);
  }
}

void mask_paths(const ChildSetup& setup) {
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
      mount = empty = new_file_system(setup, "tmpfs", "tmpfs", kNone, MOUNT_ATTR_RDONLY, path.c_str());
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

void protect_paths(const ChildSetup& setup) {
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

int child_make_directory(int root, const char* path) { return make_path(root, path, false); }

void child_enter_root(const ChildSetup& setup) {
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
  if (setup.make_devices) make_devices(setup);
  if (has_proc) check_proc(setup);
  mask_paths(setup);
  protect_paths(setup);
  const char* cwd = plan.process.cwd.c_str();
  int directory = raw::open_in_root(setup.rootfs, cwd, O_PATH | O_DIRECTORY);
  if (directory < 0) directory = make_path(setup.rootfs, cwd, false);
  if (directory < 0) child_fail(setup, "make the working directory", cwd);
  close(directory);
  if (plan.readonly_root && raw::set_mount(setup.rootfs, MOUNT_ATTR_RDONLY, 0, 0, false) < 0)
    child_fail(setup, "make the root read-only");
  pivot(setup);
  if (plan.root_propagation && raw::set_mount(setup.rootfs, 0, 0, plan.root_propagation, false) < 0)
    child_fail(setup, "set the propagation of the root");
}

}  // namespace caisson::runtime
