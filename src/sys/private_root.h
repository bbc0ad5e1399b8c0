// SPDX-License-Identifier: Apache-2.0
// A container's root file system as a tree that can be walked from here, in a mount namespace that nobody
// lives in: it exists as long as its descriptors. Each function works on a thread of its own that ends with
// the call, as a mount namespace belongs to a thread.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::sys {

// A detached copy of the root mount of the process's mount namespace, without what is mounted below it.
Result<UniqueFd> clone_root_of(int pidfd);
// The mount that this process sees at an absolute path, with what is mounted below it.
Result<UniqueFd> clone_mount_of(int pidfd, const std::string& path);

struct RootMount {
  UniqueFd mount;      // detached
  std::string target;  // absolute; made when it is missing
  bool is_directory = true;
  bool read_only = false;
};

struct PrivateRoot {
  UniqueFd root;    // to be used with open_in_root() only
  UniqueFd mounts;  // the namespace: what is mounted below `root` goes with it
  UniqueFd spare;   // another detached mount of the root's file system, without the mounts
};

// `rootfs` is detached; `scratch` any directory of ours, to mount on for a moment. Targets are resolved
// inside the root, in the order given.
Result<PrivateRoot> assemble_root(UniqueFd rootfs, std::vector<RootMount> mounts, bool read_only,
                                  const std::string& scratch);

}  // namespace caisson::sys
