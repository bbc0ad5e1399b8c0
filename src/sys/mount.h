// SPDX-License-Identifier: Apache-2.0
// The new mount API (Linux 5.2+; 5.12 for mount_setattr), one function per call. A detached mount lives
// exactly as long as its fd, so nothing is left in the host's mount table after a crash.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::sys {

struct FsOption {
  std::string key;
  std::string value;  // empty: a flag
};

// fsopen + fsconfig... + fsmount: a detached mount of file system `type`. `attributes` are
// MOUNT_ATTR_* bits. The error carries the kernel's own message from the context's log.
Result<UniqueFd> make_mount(const std::string& type, const std::vector<FsOption>& options, uint64_t attributes = 0);
// COMPAT(linux<6.5): the same through mount(2), whose options may be up to a page long, for file systems that
// need more than fsconfig's 255 bytes an option. Mounted for a moment below `scratch_parent`.
Result<UniqueFd> make_mount_by_page(const std::string& type, const std::vector<FsOption>& options, uint64_t attributes,
                                    const std::string& scratch_parent);
// open_tree(OPEN_TREE_CLONE): a detached copy of the mount at `path` (AT_FDCWD or below `dir`).
Result<UniqueFd> clone_mount(int dir, const std::string& path, bool recursive);
Result<> attach_mount(int mount, int dir, const std::string& path);
Result<> attach_mount_at(int mount, int target);  // target: O_PATH fd of the mount point
// mount_setattr on the mount of `mount`. `propagation` is MS_PRIVATE... or 0.
Result<> set_mount_attributes(int mount, uint64_t set, uint64_t clear, uint64_t propagation, bool recursive);
// MOUNT_ATTR_IDMAP: the files of the detached mount `mount` show the ids that `user_namespace` maps theirs to.
Result<> map_mount_ids(int mount, int user_namespace, bool recursive);

// COMPAT(linux<6.15): a detached mount cannot be cloned there. Then this process moves to a mount namespace of
// its own and attaches the mount on `directory` in it; elsewhere nothing is done. Single-threaded callers only.
Result<> make_mount_cloneable(int mount, const std::string& directory);

}  // namespace caisson::sys
