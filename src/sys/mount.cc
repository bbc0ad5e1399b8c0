// SPDX-License-Identifier: Apache-2.0
#include "sys/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/ids.h"
#include "base/rollback.h"
#include "base/text.h"

namespace caisson::sys {

constexpr int kDetach = 2;  // MNT_DETACH; the C library's <sys/mount.h> is hidden behind our own header

// The kernel explains a refused option in the context's log, one message per read, "e " in front.
static std::string context_log(int context) {
  char buffer[1024];
  std::string out;
  ssize_t got;
  while ((got = read(context, buffer, sizeof buffer)) > 0) {
    std::string_view line(buffer, static_cast<size_t>(got));
    if (line.size() > 2 && line[1] == ' ') line.remove_prefix(2);
    out += (out.empty() ? "" : "; ") + std::string(trim(line));
  }
  return out;
}

static std::unexpected<Error> mount_error(int context, const std::string& what) {
  int err = errno;
  std::string log = context >= 0 ? context_log(context) : "";
  return fail_errno_of(err, "%s%s%s%s", what.c_str(), log.empty() ? "" : " (", log.c_str(), log.empty() ? "" : ")");
}

Result<UniqueFd> make_mount(const std::string& type, const std::vector<FsOption>& options, uint64_t attributes) {
  UniqueFd context(static_cast<int>(syscall(SYS_fsopen, type.c_str(), FSOPEN_CLOEXEC)));
  if (!context) return mount_error(-1, "fsopen '" + type + "'");
  for (const auto& option : options) {
    long done =
        option.value.empty()
            ? syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_FLAG, option.key.c_str(), nullptr, 0)
            : syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, option.key.c_str(), option.value.c_str(), 0);
    if (done < 0) return mount_error(context.get(), "fsconfig '" + type + "' option '" + option.key + "'");
  }
  if (syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
    return mount_error(context.get(), "creating a '" + type + "' file system");
  UniqueFd mount(
      static_cast<int>(syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned int>(attributes))));
  if (!mount) return mount_error(context.get(), "fsmount '" + type + "'");
  return mount;
}

Result<UniqueFd> make_mount_by_page(const std::string& type, const std::vector<FsOption>& options, uint64_t attributes,
                                    const std::string& scratch_parent) {
  std::string data, source = type;
  for (const auto& option : options) {
    // The first argument of mount(2), among fsconfig's options.
    if (option.key == "source")
      source = option.value;
    else
      data += (data.empty() ? "" : ",") + option.key + (option.value.empty() ? "" : "=" + option.value);
  }
  if (data.size() >= static_cast<size_t>(sysconf(_SC_PAGESIZE)))
    return fail(ErrorKind::kExhausted, "mount '%s': options longer than a page", type.c_str());
  std::string scratch = scratch_parent + "/mount-" + random_hex(12);
  if (mkdir(scratch.c_str(), 0700) < 0) return fail_errno("mkdir '%s'", scratch.c_str());
  Rollback rollback;
  rollback.add([&] { rmdir(scratch.c_str()); });
  if (syscall(SYS_mount, source.c_str(), scratch.c_str(), type.c_str(), 0ul, data.c_str()) < 0)
    return fail_errno("mount '%s'", type.c_str());
  rollback.add([&] { syscall(SYS_umount2, scratch.c_str(), kDetach); });
  auto mount = TRY(clone_mount(AT_FDCWD, scratch, false));
  if (attributes != 0) TRY(set_mount_attributes(mount.get(), attributes, 0, 0, false));
  return mount;
}

Result<UniqueFd> clone_mount(int dir, const std::string& path, bool recursive) {
  unsigned flags =
      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (path.empty() ? AT_EMPTY_PATH : 0u) | (recursive ? AT_RECURSIVE : 0u);
  UniqueFd fd(static_cast<int>(syscall(SYS_open_tree, dir, path.c_str(), flags)));
  if (!fd) return fail_errno("open_tree '%s'", path.c_str());
  return fd;
}

Result<> attach_mount(int mount, int dir, const std::string& path) {
  if (syscall(SYS_move_mount, mount, "", dir, path.c_str(), MOVE_MOUNT_F_EMPTY_PATH) < 0)
    return fail_errno("move_mount to '%s'", path.c_str());
  return {};
}

Result<> attach_mount_at(int mount, int target) {
  if (syscall(SYS_move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
    return fail_errno("move_mount");
  return {};
}

Result<> set_mount_attributes(int mount, uint64_t set, uint64_t clear, uint64_t propagation, bool recursive) {
  mount_attr attributes{};
  attributes.attr_set = set;
  attributes.attr_clr = clear;
  attributes.propagation = propagation;
  if (syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attributes,
              sizeof attributes) < 0)
    return fail_errno("mount_setattr");
  return {};
}

Result<> map_mount_ids(int mount, int user_namespace, bool recursive) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<uint64_t>(user_namespace);
  if (syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attributes,
              sizeof attributes) < 0)
    return fail_errno("mount_setattr");
  return {};
}

Result<> make_mount_cloneable(int mount, const std::string& directory) {
  auto probe = clone_mount(mount, "", true);
  if (probe) return {};
  if (probe.error().err != EINVAL) return std::unexpected(std::move(probe).error());
  if (unshare(CLONE_NEWNS) < 0) return fail_errno("unshare the mount namespace");
  if (syscall(SYS_mount, nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0)
    return fail_errno("make the mounts private");
  return attach_mount(mount, AT_FDCWD, directory);
}

}  // namespace caisson::sys
