// SPDX-License-Identifier: Apache-2.0
#include "sys/private_root.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/stat.h>

#include <functional>
#include <optional>
#include <system_error>
#include <thread>

#include "base/text.h"
#include "sys/files.h"
#include "sys/mount.h"
#include "sys/raw_calls.h"

namespace caisson::sys {

namespace {

template <class T>
Result<T> on_own_thread(const std::function<Result<T>()>& work) {
  std::optional<Result<T>> out;
  try {
    std::thread([&] { out.emplace(work()); }).join();
  } catch (const std::system_error& error) {
    return fail_errno_of(error.code().value(), "start a thread");
  }
  return std::move(*out);
}

// Every directory on the way, and the place itself; what is there stays as it is.
Result<UniqueFd> make_target(int root, const RootMount& mount) {
  auto there = open_in_root(root, mount.target, O_PATH);
  if (there || there.error().err != ENOENT) return there;
  auto parts = split(mount.target, '/');
  std::string path;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].empty()) continue;
    auto parent = TRY(open_in_root(root, path.empty() ? "/" : path, O_PATH | O_DIRECTORY));
    path += "/" + parts[i];
    bool is_last = i + 1 == parts.size();
    if (open_in_root(root, path, O_PATH)) continue;
    if (!is_last || mount.is_directory) {
      if (mkdirat(parent.get(), parts[i].c_str(), 0755) < 0 && errno != EEXIST)
        return fail_errno("mkdir %s", quoted(path).c_str());
    } else {
      TRY(open_at(parent.get(), parts[i], O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0755));
    }
  }
  return open_in_root(root, mount.target, O_PATH);
}

Result<PrivateRoot> assemble_on_this_thread(UniqueFd& rootfs, std::vector<RootMount>& mounts, bool read_only,
                                            const std::string& scratch) {
  if (unshare(CLONE_NEWNS) < 0) return fail_errno("unshare the mount namespace");
  if (raw::set_propagation("/", MS_REC | MS_PRIVATE) < 0) return fail_errno("make the mounts private");
  TRY(attach_mount(rootfs.get(), AT_FDCWD, scratch));
  PrivateRoot out;
  out.spare = TRY(clone_mount(rootfs.get(), "", false));
  out.mounts = TRY(open_file("/proc/thread-self/ns/mnt", O_RDONLY));
  // Nothing of the host's mounts is held by a namespace that may live as long as a client is slow.
  if (fchdir(rootfs.get()) < 0) return fail_errno("fchdir to the root");
  if (raw::pivot_root(".", ".") < 0) return fail_errno("pivot_root");
  if (raw::detach_mount(".") < 0) return fail_errno("unmount the old root");
  for (auto& mount : mounts) {
    auto target = TRY_CTX(make_target(rootfs.get(), mount), "mounting on '" + mount.target + "'");
    if (mount.read_only) TRY(set_mount_attributes(mount.mount.get(), MOUNT_ATTR_RDONLY, 0, 0, true));
    TRY_CTX(attach_mount_at(mount.mount.get(), target.get()), "mounting on '" + mount.target + "'");
  }
  if (read_only) TRY(set_mount_attributes(rootfs.get(), MOUNT_ATTR_RDONLY, 0, 0, false));
  out.root = std::move(rootfs);
  return out;
}

}  // namespace

static Result<UniqueFd> clone_in_namespace_of(int pidfd, const std::string& path, bool recursive) {
  return on_own_thread<UniqueFd>([&]() -> Result<UniqueFd> {
    if (unshare(CLONE_FS) < 0) return fail_errno("unshare the working directory");
    if (setns(pidfd, CLONE_NEWNS) < 0) return fail_errno("setns to the container's mount namespace");
    return clone_mount(AT_FDCWD, path, recursive);
  });
}

Result<UniqueFd> clone_root_of(int pidfd) { return clone_in_namespace_of(pidfd, "/", false); }

Result<UniqueFd> clone_mount_of(int pidfd, const std::string& path) { return clone_in_namespace_of(pidfd, path, true); }

Result<PrivateRoot> assemble_root(UniqueFd rootfs, std::vector<RootMount> mounts, bool read_only,
                                  const std::string& scratch) {
  return on_own_thread<PrivateRoot>([&] { return assemble_on_this_thread(rootfs, mounts, read_only, scratch); });
}

}  // namespace caisson::sys
