// SPDX-License-Identifier: Apache-2.0
#include "monitor/release_memory.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>

#include <cstdint>

#include "sys/drop_pages.h"

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

struct Ranges {
  uintptr_t begin[8], end[8];
  int count = 0;
};

int find_read_only(dl_phdr_info* info, size_t, void* found) {
  auto& ranges = *static_cast<Ranges*>(found);
  for (int i = 0; i < info->dlpi_phnum && ranges.count < 8; ++i) {
    const auto& part = info->dlpi_phdr[i];
    if (part.p_type != PT_LOAD || (part.p_flags & PF_W)) continue;
    ranges.begin[ranges.count] = (info->dlpi_addr + part.p_vaddr) & ~(kPage - 1);
    ranges.end[ranges.count++] = (info->dlpi_addr + part.p_vaddr + part.p_memsz + kPage - 1) & ~(kPage - 1);
  }
  return 0;
}

}  // namespace

// Hot, as are the monitor's loop and what it calls: the linker puts those side by side, so that what has to
// come back for a sleeping monitor is one stretch of code instead of many.
[[gnu::hot]] void release_memory(char* buffer, size_t size) {
  malloc_trim(0);
  auto at = reinterpret_cast<uintptr_t>(buffer);
  drop(at, at + size);
  auto frame = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  // The kernel grows the stack on demand; what lies well below this frame is left from earlier calls.
  drop(frame - kStack, frame - 2 * kPage);
  // Code and constants come back from the file as they are needed. Last, and without a call in between: every
  // one would bring a stretch of the library back.
  Ranges ranges;
  dl_iterate_phdr(find_read_only, &ranges);
  for (int i = 0; i < ranges.count; ++i) sys::drop_pages(ranges.begin[i], ranges.end[i] - ranges.begin[i]);
}

}  // namespace caisson::monitor
