// SPDX-License-Identifier: Apache-2.0
// POSIX access control lists between the text that archives carry and the form of system.posix_acl_*. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace caisson::tar {

// acl(5)'s text forms, entries parted by commas or line ends, as star, GNU tar and bsdtar write them
// ("user:name:r--:1000" has the id behind). nullopt for what is malformed, and where an entry has a name but no id:
// nobody could resolve it.
std::optional<std::string> acl_to_xattr(std::string_view text);

}  // namespace caisson::tar
