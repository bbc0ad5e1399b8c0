// SPDX-License-Identifier: Apache-2.0
// "user[:group]" of an image or a request -> numbers, by the container's own etc/passwd and etc/group.
// The files are the image's and hostile: bounded, regular, looked up inside the root.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace caisson::runtime {

struct ResolvedUser {
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> additional_gids;
  std::string name;  // as in passwd, empty for a number without an entry
  std::string home = "/";
};

// `rootfs` is a directory or mount fd. `user` is "", "name", "1000", "name:group", "1000:1000".
// `extra_groups` (--group-add) are names or numbers. Files that are absent are empty. Errors kInvalid:
//   unable to find user nosuch: no matching entries in passwd file
//   unable to find group nosuch: no matching entries in group file
Result<ResolvedUser> resolve_user(int rootfs, std::string_view user, const std::vector<std::string>& extra_groups = {});

// The same on the files' text.
Result<ResolvedUser> resolve_user_in(std::string_view passwd, std::string_view group, std::string_view user,
                                     const std::vector<std::string>& extra_groups = {});

}  // namespace caisson::runtime
