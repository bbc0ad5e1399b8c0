// SPDX-License-Identifier: Apache-2.0
// The vfs driver: file systems of containers as full copies, for file systems that cannot carry overlay. Copies are
// reflinks where the file system has them.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::image {

// `layers`, base first, as one tree below `destination`, which is empty: whiteouts and opaque directories are
// carried out. kExhausted with the errno where the disk is full.
Result<> flatten_layers(const std::vector<std::string>& layers, int destination);

// What `changed` has over `base`, in overlay's form, below `destination`, which is empty and on the same file system:
// files are linked, not copied.
Result<> extract_changes(int base, int changed, int destination);

// The merged layers as a directory of `cache`, made when it is not there yet.
Result<std::string> vfs_base(const std::vector<std::string>& layers, const std::string& cache);
// Its name, for those who remove what nobody needs any more.
std::string vfs_base_name(const std::vector<std::string>& layers);

// A container's tree: a copy of the base in `directory`, made at the first time; `state` remembers that it is complete.
Result<UniqueFd> mount_vfs(const std::vector<std::string>& layers, const std::string& cache,
                           const std::string& directory, const std::string& state, bool read_only);

}  // namespace caisson::image
