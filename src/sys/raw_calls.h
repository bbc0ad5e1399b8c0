// SPDX-License-Identifier: Apache-2.0
// System calls for code between clone and exec: no allocation, no Result, -1 and errno as the kernel
// gives them. Everybody else uses the functions that return Result.
#pragma once

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace caisson::sys::raw {

// As if `root` were "/", magic links refused; `resolve` adds RESOLVE_* bits.
inline int open_in_root(int root, const char* path, int flags, mode_t mode = 0, uint64_t resolve = 0) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve;
  // EAGAIN: something was renamed, anywhere, while ".." was looked up.
  for (int tries = 0;; ++tries) {
    int fd = static_cast<int>(syscall(SYS_openat2, root, path, &how, sizeof how));
    if (fd >= 0 || errno != EAGAIN || tries == 1000) return fd;
  }
}
inline int open_no_magic(int dir, const char* path, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(syscall(SYS_openat2, dir, path, &how, sizeof how));
}

inline int fsopen(const char* type) { return static_cast<int>(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC)); }
inline int fsconfig_flag(int context, const char* key) {
  return static_cast<int>(syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, key, nullptr, 0));
}
inline int fsconfig_string(int context, const char* key, const char* value) {
  return static_cast<int>(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, key, value, 0));
}
inline int fsconfig_create(int context) {
  return static_cast<int>(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0));
}
inline int fsmount(int context, uint64_t attributes) {
  return static_cast<int>(syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, static_cast<unsigned>(attributes)));
}
// A detached copy of the mount of `fd`, or of what `path` leads to.
inline int clone_mount(int fd, bool recursive, const char* path = "") {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (*path ? 0u : AT_EMPTY_PATH) | (recursive ? AT_RECURSIVE : 0u);
  return static_cast<int>(syscall(SYS_open_tree, fd, path, flags));
}
// On `target`, or on what `path` below it names (links are not followed in its last component).
inline int attach_mount(int mount, int target, const char* path = "") {
  return static_cast<int>(syscall(SYS_move_mount, mount, "", target, path,
                                  MOVE_MOUNT_F_EMPTY_PATH | (*path ? 0 : MOVE_MOUNT_T_EMPTY_PATH)));
}
inline int set_mount(int fd, uint64_t set, uint64_t clear, uint64_t propagation, bool recursive) {
  mount_attr attributes{};
  attributes.attr_set = set;
  attributes.attr_clr = clear;
  attributes.propagation = propagation;
  return static_cast<int>(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0),
                                  &attributes, sizeof attributes));
}
inline int pivot_root(const char* new_root, const char* put_old) {
  return static_cast<int>(syscall(SYS_pivot_root, new_root, put_old));
}
// mount(2) for propagation only; <sys/mount.h> cannot be had here, as that name is our own header's.
inline int set_propagation(const char* path, unsigned long flags) {
  return static_cast<int>(syscall(SYS_mount, nullptr, path, nullptr, flags, nullptr));
}
// All of mount(2).
inline int mount_call(const char* source, const char* target, const char* type, unsigned long flags, const char* data) {
  return static_cast<int>(syscall(SYS_mount, source, target, type, flags, data));
}
inline int detach_mount(const char* path) { return static_cast<int>(syscall(SYS_umount2, path, 2 /* MNT_DETACH */)); }
inline int close_range(unsigned first, unsigned last, unsigned flags) {
  return static_cast<int>(syscall(SYS_close_range, first, last, flags));
}
// KEYCTL_JOIN_SESSION_KEYRING is 1; linux/keyctl.h has no C++-safe guard on older systems.
inline long join_session_keyring(const char* name) { return syscall(SYS_keyctl, 1, name, 0, 0, 0); }
// KEYCTL_SETPERM, with the bits of keyctl_setperm(3).
inline long set_key_permissions(long key, uint32_t bits) { return syscall(SYS_keyctl, 5, key, bits, 0, 0); }

// The raw calls change this thread only, which is all there is; glibc's wrappers would look for others.
inline int set_gid(uint32_t gid) { return static_cast<int>(syscall(SYS_setresgid, gid, gid, gid)); }
inline int set_uid(uint32_t uid) { return static_cast<int>(syscall(SYS_setresuid, uid, uid, uid)); }
inline int set_groups(size_t count, const uint32_t* gids) {
  return static_cast<int>(syscall(SYS_setgroups, count, gids));
}
inline int set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2];
  for (int half = 0; half < 2; ++half) {
    data[half].effective = static_cast<uint32_t>(effective >> (32 * half));
    data[half].permitted = static_cast<uint32_t>(permitted >> (32 * half));
    data[half].inheritable = static_cast<uint32_t>(inheritable >> (32 * half));
  }
  return static_cast<int>(syscall(SYS_capset, &header, data));
}
inline int set_seccomp_filter(uint32_t flags, const void* program) {
  return static_cast<int>(syscall(SYS_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, flags, program));
}
// Never through symbolic links, magic links or a mount on top: what a /proc that was opened before any
// container existed holds under that path.
inline int open_beneath(int dir, const char* path, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
  return static_cast<int>(syscall(SYS_openat2, dir, path, &how, sizeof how));
}

// <linux/sched/types.h> collides with glibc's <sched.h> on older systems; this is its version 1 of 2.
struct SchedulerAttributes {
  uint32_t size = sizeof(SchedulerAttributes);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0, deadline = 0, period = 0;
  uint32_t utilization_min = 0, utilization_max = 0;
};
inline int set_scheduler(const SchedulerAttributes& attributes) {
  return static_cast<int>(syscall(SYS_sched_setattr, 0, &attributes, 0));
}
inline int set_io_priority(int priority) {
  return static_cast<int>(syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, priority));
}
// Masks are native unsigned longs, `size` in bytes.
inline int set_affinity(const void* mask, size_t size) {
  return static_cast<int>(syscall(SYS_sched_setaffinity, 0, size, mask));
}
inline int set_memory_policy(uint32_t mode, const void* nodes, size_t size) {
  // One more than there are bits: the kernel takes the number down by one first.
  return static_cast<int>(
      syscall(SYS_set_mempolicy, static_cast<int>(mode), size ? nodes : nullptr, size ? size * 8 + 1 : 0));
}
// Every descriptor from `first` on closes at exec. `own_fds`: a directory with one entry per descriptor.
// COMPAT(linux<5.11): without CLOSE_RANGE_CLOEXEC the directory is read, into the stack.
inline int close_on_exec_from(unsigned first, int own_fds) {
  if (close_range(first, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */) == 0) return 0;
  if (own_fds < 0) return -1;
  struct Entry {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
  };
  alignas(8) char buffer[4096];
  for (;;) {
    long got = syscall(SYS_getdents64, own_fds, buffer, sizeof buffer);
    if (got <= 0) return static_cast<int>(got);
    for (long at = 0; at < got;) {
      auto* entry = reinterpret_cast<const Entry*>(buffer + at);
      at += entry->size;
      unsigned fd = 0;
      const char* digit = entry->name;
      while (*digit >= '0' && *digit <= '9') fd = fd * 10 + static_cast<unsigned>(*digit++ - '0');
      if (*digit == 0 && fd >= first) fcntl(static_cast<int>(fd), F_SETFD, FD_CLOEXEC);
    }
  }
}

}  // namespace caisson::sys::raw
