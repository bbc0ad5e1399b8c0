// SPDX-License-Identifier: Apache-2.0
// How a program that parses strangers' bytes stops being root, for good.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"

namespace caisson::sys {

// User and group nobody, no groups, an empty bounding set, no_new_privs, no core and no ptrace by others of the same
// user. Run by an ordinary user it keeps that user. For single-threaded programs; PR_SET_PDEATHSIG is lost by it.
// `keep`: a capability (CAP_NET_ADMIN, say) that stays in effect.
Result<> drop_privileges(std::optional<int> keep = std::nullopt);

// No core dumps, and at most that many bytes of address space (not under the address sanitizer, which takes terabytes).
Result<> limit_memory(uint64_t bytes);

}  // namespace caisson::sys
