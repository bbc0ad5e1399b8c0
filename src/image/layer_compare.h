// SPDX-License-Identifier: Apache-2.0
// Is one unpacked layer what another one is? For the store's deep check, which unpacks a layer again from its blob.
#pragma once

#include <string>

#include "base/result.h"

namespace caisson::image {

// The first difference as "'etc/passwd': other content"; "" when there is none. Names, types, modes, owners,
// devices, link targets, times, extended attributes and every byte count. Both are directory fds, only read.
Result<std::string> first_difference(int found, int wanted);

}  // namespace caisson::image
