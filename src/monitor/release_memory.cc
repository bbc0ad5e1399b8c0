// SPDX-License-Identifier: Apache-2.0
#include "monitor/release_memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cstdint>

// Of the linker: begin and end of the program's text.
extern "C" const char __executable_start;
extern "C" const char etext;

namespace caisson::monitor {

namespace {

constexpr uintptr_t kPage = 4096;
constexpr uintptr_t kStack = 512 << 10;

void drop(uintptr_t begin, uintptr_t end) {
  begin = (begin + kPage - 1) & ~(kPage - 1);
  end &= ~(kPage - 1);
  // Holes in the range are reported as an error after the rest has been dropped.
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace

void release_memory(char* buffer, size_t size) {
  malloc_trim(0);
  auto at = reinterpret_cast<uintptr_t>(buffer);
  drop(at, at + size);
  auto frame = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  // The kernel grows the stack on demand; what lies well below this frame is left from earlier calls.
  drop(frame - kStack, frame - 2 * kPage);
  drop(reinterpret_cast<uintptr_t>(&__executable_start), reinterpret_cast<uintptr_t>(&etext));
}

}  // namespace caisson::monitor
