// SPDX-License-Identifier: Apache-2.0
// Copies what is below one directory into another, as cp -a would: owners, modes, times, extended
// attributes, symbolic links as such. Never follows a link on either side.
#pragma once

#include "base/result.h"

namespace caisson::sys {

// Both are directory fds. Names that exist in the target already are left as they are. The target
// directory itself gets the source's owner, mode and times. Sockets are left out, as Docker does.
Result<> copy_tree(int from, int to);

}  // namespace caisson::sys
