// SPDX-License-Identifier: Apache-2.0
// Gives back what a quiet monitor does not need: there may be thousands of them.
#pragma once

#include <cstddef>

namespace caisson::monitor {

// The heap's free pages, the unused stack, `buffer`'s whole pages, and the program text that only the
// start has used (it comes back from the page cache when it is needed).
void release_memory(char* buffer, size_t size);

}  // namespace caisson::monitor
