// SPDX-License-Identifier: Apache-2.0
// One mount of the container after the other.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "runtime/child_root.h"
#include "sys/copy_tree.h"
#include "sys/raw_calls.h"

namespace caisson::runtime {

namespace raw = sys::raw;

namespace {

int try_attach(int mount, int target) {
  if (raw::attach_mount(mount, target) == 0) return 0;
  int err = errno;
  struct stat source {
  }, covered{};
  // The kernel says EINVAL to a directory on something else and to the reverse.
  if (err == EINVAL && fstat(mount, &source) == 0 && fstat(target, &covered) == 0 &&
      S_ISDIR(source.st_mode) != S_ISDIR(covered.st_mode))
    err = ENOTDIR;
  errno = err;
  return -1;
}

}  // namespace

void child_attach(const ChildSetup& setup, int mount, int target, const char* destination) {
  if (try_attach(mount, target) < 0) child_fail(setup, "mount on", destination);
}

namespace {

// A new file system that failed: where, and the context with the kernel's words.
struct Refusal {
  const char* step = "mount";
  int context = -1;
  char text[64];
};

// The detached mount or -1. `mode` is one more option unless negative.
int try_file_system(const char* type, const char* source, const std::vector<PreparedOption>& options, int mode,
                    uint64_t attributes, Refusal& refusal) {
  int context = refusal.context = raw::fsopen(type);
  if (context < 0) {
    snprintf(refusal.text, sizeof refusal.text, "mount '%.40s' on", type);
    refusal.step = refusal.text;
    return -1;
  }
  // Names the mount in /proc/mounts; some file systems refuse it.
  if (*source) raw::fsconfig_string(context, "source", source);
  refusal.step = "mount option for";
  if (mode >= 0) {
    char text[16];
    snprintf(text, sizeof text, "%o", static_cast<unsigned>(mode));
    if (raw::fsconfig_string(context, "mode", text) < 0) return -1;
  }
  for (const auto& option : options) {
    int done = option.has_value ? raw::fsconfig_string(context, option.key.c_str(), option.value.c_str())
                                : raw::fsconfig_flag(context, option.key.c_str());
    if (done < 0) return -1;
  }
  refusal.step = "mount";
  if (raw::fsconfig_create(context) < 0) return -1;
  int mount = raw::fsmount(context, attributes);
  if (mount >= 0) close(context);
  return mount;
}

// Flags of a mount that came with a mount namespace of more rights stay as they are. Those of access times
// are always among them, and nobody's safety hangs on them.
int set_attributes(int mount, uint64_t set, uint64_t clear, bool recursive) {
  if (!(set | clear)) return 0;
  int done = raw::set_mount(mount, set, clear, 0, recursive);
  if (done < 0 && errno == EPERM && (clear & MOUNT_ATTR__ATIME)) {
    uint64_t times = MOUNT_ATTR__ATIME;
    if (!((set | clear) & ~times)) return 0;
    done = raw::set_mount(mount, set & ~times, clear & ~times, 0, recursive);
  }
  return done;
}

int set_propagation(int mount, uint64_t kind, bool recursive, bool user_namespace) {
  // What is mounted inside must not reach a group of the host's: whoever rules the user namespace may mount
  // what the host's administrator would not. The kernel does the same to copies of mount namespaces.
  if (kind == MS_SHARED && user_namespace) kind |= MS_SLAVE;
  if (kind == (MS_SLAVE | MS_SHARED)) {
    if (raw::set_mount(mount, 0, 0, MS_SLAVE, recursive) < 0) return -1;
    kind = MS_SHARED;
  }
  return raw::set_mount(mount, 0, 0, kind, recursive);
}

void set_all(const ChildSetup& setup, const Mount& mount, int fd) {
  if (set_attributes(fd, mount.set_attributes, mount.clear_attributes, false) < 0 ||
      set_attributes(fd, mount.set_attributes_recursive, mount.clear_attributes_recursive, true) < 0)
    child_fail(setup, "set the mount attributes of", mount.destination.c_str());
}

bool names_proc(const PreparedMount& prepared, const struct statfs& target) {
  return target.f_type == PROC_SUPER_MAGIC || prepared.mount->destination == "/proc";
}

void check_target(const ChildSetup& setup, const PreparedMount& prepared, int target, bool shows_proc) {
  const Mount& mount = *prepared.mount;
  // The host's own /proc may stand at /proc: what is shared already.
  if (prepared.may_cover_proc || (shows_proc && mount.destination == "/proc")) return;
  struct statfs info {};
  if (fstatfs(target, &info) < 0) child_fail(setup, "fstatfs", mount.destination.c_str());
  if (names_proc(prepared, info)) child_fail(setup, Failure::kOverProc, "mount on", mount.destination.c_str());
}

// O_PATH fd of the mount point, made when missing.
int open_target(const ChildSetup& setup, const Mount& mount, bool file, bool* made = nullptr) {
  const char* destination = mount.destination.c_str();
  // /proc and /sys are found by their names by everything that follows, here and in the container: they
  // must be where they seem to be.
  bool exact = mount.type == "proc" || mount.type == "sysfs";
  int target = raw::open_in_root(setup.rootfs, destination, O_PATH, 0, exact ? RESOLVE_NO_SYMLINKS : 0);
  bool missing = target < 0 && errno == ENOENT;
  if (missing) target = child_make_path(setup.rootfs, destination, file);
  if (target < 0) child_fail(setup, "make the mount point", destination);
  if (made) *made = missing;
  return target;
}

// A bind of what the child sees at `path`, or -1.
int clone_path(const char* path, bool recursive) {
  int fd = raw::clone_mount(AT_FDCWD, recursive, path);
  // Mounts that a more privileged namespace put below must not be uncovered: all or nothing.
  if (fd < 0 && errno == EINVAL && !recursive) fd = raw::clone_mount(AT_FDCWD, true, path);
  return fd;
}

void mount_bind(const ChildSetup& setup, const PreparedMount& prepared) {
  const Mount& mount = *prepared.mount;
  int fd = prepared.source.get();
  if (fd < 0) fd = clone_path(mount.source.c_str(), mount.recursive);
  struct stat info {};
  struct statfs fs {};
  if (fd < 0 || fstat(fd, &info) < 0 || fstatfs(fd, &fs) < 0) child_fail(setup, "mount source", mount.source.c_str());
  int target = open_target(setup, mount, !S_ISDIR(info.st_mode));
  check_target(setup, prepared, target, fs.f_type == PROC_SUPER_MAGIC);
  set_all(setup, mount, fd);
  uint64_t kind = mount.propagation ? mount.propagation : uint64_t{MS_PRIVATE};
  if (set_propagation(fd, kind, mount.propagation_recursive || !mount.propagation, child_in_user_namespace(setup)) < 0)
    child_fail(setup, "set the propagation of", mount.destination.c_str());
  child_attach(setup, fd, target, mount.destination.c_str());
  close(target);
  if (!prepared.source) close(fd);
}

// Instead of a new file system: what the host, or whoever made our user namespace, shows there. -1 when that
// cannot be had.
int bind_instead(const ChildSetup& setup, const PreparedMount& prepared) {
  const Mount& mount = *prepared.mount;
  int fd = raw::clone_mount(AT_FDCWD, true, prepared.instead.c_str());
  if (fd >= 0 &&
      (raw::set_mount(fd, 0, 0, MS_PRIVATE, true) < 0 || set_attributes(fd, mount.set_attributes, 0, true) < 0))
    child_fail(setup, "set the mount attributes of", mount.destination.c_str());
  return fd;
}

// What the image has at the destination goes into the new tmpfs.
void copy_up(const ChildSetup& setup, const PreparedMount& prepared, int fd, int target) {
  const char* destination = prepared.mount->destination.c_str();
  // The tree copier allocates. That is safe here: the child is single-threaded, and its memory its own.
  int from = openat(target, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int to = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat before {};
  if (from < 0 || to < 0 || fstat(to, &before) < 0) child_fail(setup, "open for copying", destination);
  if (auto copied = sys::copy_tree(from, to); !copied)
    child_fail(setup,
               with_context(copied.error(), "copy into the tmpfs at '" + prepared.mount->destination + "'").error());
  if (prepared.has_owner && fchown(to, before.st_uid, before.st_gid) < 0) child_fail(setup, "chown", destination);
  if (prepared.has_mode && fchmod(to, before.st_mode & 07777) < 0) child_fail(setup, "chmod", destination);
  close(from);
  close(to);
}

unsigned long call_flags(const PreparedMount& prepared) {
  static constexpr struct {
    uint64_t attribute;
    unsigned long flag;
  } kFlags[] = {
      {MOUNT_ATTR_RDONLY, MS_RDONLY},          {MOUNT_ATTR_NOSUID, MS_NOSUID},         {MOUNT_ATTR_NODEV, MS_NODEV},
      {MOUNT_ATTR_NOEXEC, MS_NOEXEC},          {MOUNT_ATTR_NODIRATIME, MS_NODIRATIME}, {MOUNT_ATTR_NOATIME, MS_NOATIME},
      {MOUNT_ATTR_STRICTATIME, MS_STRICTATIME}};
  unsigned long flags = prepared.call_flags;
  for (auto [attribute, flag] : kFlags)
    if (prepared.mount->set_attributes & attribute) flags |= flag;
  return flags;
}

// Through the descriptor, so that nobody can put something else in the place of the mount point.
void mount_by_call(const ChildSetup& setup, const PreparedMount& prepared, int target, unsigned long more_flags) {
  const Mount& mount = *prepared.mount;
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", target);
  const char* type = more_flags & MS_REMOUNT ? nullptr : mount.type.c_str();
  if (raw::mount_call(mount.source.c_str(), path, type, call_flags(prepared) | more_flags, prepared.call_data.c_str()) <
      0)
    child_fail(setup, more_flags & MS_REMOUNT ? "remount" : "mount", mount.destination.c_str());
}

void remount(const ChildSetup& setup, const PreparedMount& prepared) {
  const Mount& mount = *prepared.mount;
  int target = raw::open_in_root(setup.rootfs, mount.destination.c_str(), O_PATH);
  if (target < 0) child_fail(setup, "remount", mount.destination.c_str());
  if (mount.kind == Mount::Kind::kBind)
    set_all(setup, mount, target);
  else
    mount_by_call(setup, prepared, target, MS_REMOUNT);
  if (mount.propagation &&
      set_propagation(target, mount.propagation, mount.propagation_recursive, child_in_user_namespace(setup)) < 0)
    child_fail(setup, "set the propagation of", mount.destination.c_str());
  close(target);
}

// Mount points, devices and copies are still to be made there: see child_finish_mounts().
bool is_filled_later(const Mount& mount) { return mount.type == "tmpfs" || mount.destination == "/dev"; }

// A mount of our own making, or what is bound in its place; `target` matters to tmpfs only.
int new_mount(const ChildSetup& setup, const PreparedMount& prepared, int target, bool target_made) {
  const Mount& mount = *prepared.mount;
  if (prepared.instead_at_once) {
    int shown = bind_instead(setup, prepared);
    if (shown < 0) child_fail(setup, "mount source", prepared.instead.c_str());
    return shown;
  }
  int mode = -1;
  if (mount.type == "tmpfs" && !prepared.has_mode && !target_made) {
    // As runc does: the new root has the permissions of the directory it covers.
    struct stat covered {};
    if (fstat(target, &covered) < 0) child_fail(setup, "stat", mount.destination.c_str());
    mode = covered.st_mode & 07777;
  }
  uint64_t attributes = mount.set_attributes | mount.set_attributes_recursive;
  if (is_filled_later(mount)) attributes &= ~uint64_t{MOUNT_ATTR_RDONLY};
  const char* type = prepared.cgroup2 ? "cgroup2" : mount.type.c_str();
  Refusal refusal;
  int fd = try_file_system(type, mount.source.c_str(), prepared.options, mode, attributes, refusal);
  if (fd < 0) {
    int err = errno;
    if ((err == EPERM || err == EACCES || err == EBUSY) && !prepared.instead.empty()) {
      int shown = bind_instead(setup, prepared);
      if (shown >= 0) {
        close(refusal.context);
        return shown;
      }
    }
    errno = err;
    child_fail(setup, Failure::kCall, refusal.step, mount.destination.c_str(), refusal.context);
  }
  if (mount.copy_up && !target_made) copy_up(setup, prepared, fd, target);
  return fd;
}

void mount_file_system(const ChildSetup& setup, PreparedMount& prepared) {
  const Mount& mount = *prepared.mount;
  const char* destination = mount.destination.c_str();
  bool made = false;
  int target = open_target(setup, mount, false, &made);
  check_target(setup, prepared, target, false);
  if (prepared.by_mount_call) {
    mount_by_call(setup, prepared, target, 0);
    close(target);
    if (!mount.propagation) return;
    target = raw::open_in_root(setup.rootfs, destination, O_PATH);
    if (target < 0 || set_propagation(target, mount.propagation, mount.propagation_recursive, false) < 0)
      child_fail(setup, "set the propagation of", destination);
    close(target);
    return;
  }
  int fd = new_mount(setup, prepared, target, made);
  // A new mount is private from birth.
  if (mount.propagation && mount.propagation != MS_PRIVATE && set_propagation(fd, mount.propagation, false, false) < 0)
    child_fail(setup, "set the propagation of", destination);
  child_attach(setup, fd, target, destination);
  close(target);
  if (((mount.set_attributes | mount.set_attributes_recursive) & MOUNT_ATTR_RDONLY) && is_filled_later(mount))
    prepared.read_only_later.reset(fd);
  else
    close(fd);
}

void mount_hierarchies(const ChildSetup& setup, const PreparedMount& prepared) {
  const Mount& mount = *prepared.mount;
  const char* destination = mount.destination.c_str();
  int target = open_target(setup, mount, false);
  check_target(setup, prepared, target, false);
  int top = child_new_file_system(setup, "tmpfs", "cgroup", prepared.options,
                                  mount.set_attributes & ~uint64_t{MOUNT_ATTR_RDONLY}, destination);
  child_attach(setup, top, target, destination);
  close(target);
  for (const auto& hierarchy : prepared.hierarchies) {
    const char* name = hierarchy.name.c_str();
    int source = hierarchy.mount.get();
    if (source < 0) source = clone_path(hierarchy.path.c_str(), false);
    // An ordinary user has none of its own where the host's may not be looked at.
    if (source < 0 && setup.plan->rootless && (errno == EACCES || errno == ENOENT || errno == EPERM)) continue;
    if (source < 0) child_fail(setup, "mount source", hierarchy.path.c_str());
    if (mkdirat(top, name, 0755) < 0) child_fail(setup, "mkdir", name);
    if (raw::set_mount(source, mount.set_attributes, 0, MS_PRIVATE, !hierarchy.mount) < 0)
      child_fail(setup, "mount_setattr", name);
    if (raw::attach_mount(source, top, name) < 0) child_fail(setup, "mount on", hierarchy.path.c_str());
    if (!hierarchy.mount) close(source);
    for (const auto& link : hierarchy.links)
      if (symlinkat(name, top, link.c_str()) < 0) child_fail(setup, "symlink", link.c_str());
  }
  if ((mount.set_attributes & MOUNT_ATTR_RDONLY) && raw::set_mount(top, MOUNT_ATTR_RDONLY, 0, 0, false) < 0)
    child_fail(setup, "mount_setattr", destination);
  close(top);
}

}  // namespace

int child_new_file_system(const ChildSetup& setup, const char* type, const char* source,
                          const std::vector<PreparedOption>& options, uint64_t attributes, const char* destination) {
  Refusal refusal;
  int mount = try_file_system(type, source, options, -1, attributes, refusal);
  if (mount < 0) child_fail(setup, Failure::kCall, refusal.step, destination, refusal.context);
  return mount;
}

void child_mount(const ChildSetup& setup, PreparedMount& prepared) {
  const Mount& mount = *prepared.mount;
  if (mount.type == "remount") return remount(setup, prepared);
  if (mount.kind == Mount::Kind::kBind) return mount_bind(setup, prepared);
  if (mount.kind == Mount::Kind::kCgroup && !prepared.cgroup2) return mount_hierarchies(setup, prepared);
  mount_file_system(setup, prepared);
}

void child_finish_mounts(const ChildSetup& setup) {
  for (const auto& prepared : setup.mounts)
    if (prepared.read_only_later && raw::set_mount(prepared.read_only_later.get(), MOUNT_ATTR_RDONLY, 0, 0, false) < 0)
      child_fail(setup, "make read-only", prepared.mount->destination.c_str());
}

}  // namespace caisson::runtime
