// SPDX-License-Identifier: Apache-2.0
// The home directory of a user by the container's own passwd, for code between clone and exec: no allocation.
#pragma once

#include <cstddef>
#include <cstdint>

namespace caisson::runtime {

// Copies the home of the first entry of `uid` in the passwd behind `fd` to `out` with its zero byte. False
// when there is none that is absolute and fits. Reads at most 1 MiB.
bool find_home(int fd, uint32_t uid, char* out, size_t size);

}  // namespace caisson::runtime
