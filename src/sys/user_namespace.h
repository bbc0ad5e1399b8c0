// SPDX-License-Identifier: Apache-2.0
// User namespaces that nobody lives in: what an id-mapped mount takes its mapping from.
#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::sys {

// A new user namespace with these maps (lines of "inside outside count"). It lasts as long as the
// descriptor. Blocks for the life of a short process. The caller needs CAP_SETUID and CAP_SETGID for the
// outer ids. Forks the caller's memory, so it is for small single-threaded programs only.
Result<UniqueFd> make_user_namespace(const std::string& uid_map, const std::string& gid_map);

}  // namespace caisson::sys
