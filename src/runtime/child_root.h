// SPDX-License-Identifier: Apache-2.0
// Between the files that build the container's root: child_root.cc calls child_mounts.cc and
// child_devices.cc; all of them make paths with child_paths.cc.
#pragma once

#include "runtime/child.h"

namespace caisson::runtime {

bool child_in_user_namespace(const ChildSetup& setup);
// Makes what is missing of `path` inside `root`; `file` says what its last component becomes. A dangling
// link is followed inside the root, as a container would. O_PATH fd or -1.
int child_make_path(int root, const char* path, bool file);
// A detached mount of a new file system.
int child_new_file_system(const ChildSetup& setup, const char* type, const char* source,
                          const std::vector<PreparedOption>& options, uint64_t attributes, const char* destination);
void child_attach(const ChildSetup& setup, int mount, int target, const char* destination);
void child_mount(const ChildSetup& setup, PreparedMount& prepared);
// Those that had to be written to until now become read-only.
void child_finish_mounts(const ChildSetup& setup);
void child_make_devices(const ChildSetup& setup);
void child_mask_paths(const ChildSetup& setup);
void child_protect_paths(const ChildSetup& setup);

}  // namespace caisson::runtime
