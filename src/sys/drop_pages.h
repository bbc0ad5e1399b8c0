// SPDX-License-Identifier: Apache-2.0
// madvise(2) MADV_DONTNEED without the C library's wrapper, for code that gives back the very pages it runs on.
#pragma once

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace caisson::sys {

// What cannot be dropped stays; nobody could do anything about it.
[[gnu::always_inline]] inline void drop_pages(uintptr_t begin, size_t size) {
#if defined(__x86_64__)
  long result = SYS_madvise;
  register long advice __asm__("rdx") = MADV_DONTNEED;
  __asm__ volatile("syscall" : "+a"(result) : "D"(begin), "S"(size), "r"(advice) : "rcx", "r11", "memory");
#else
  madvise(reinterpret_cast<void*>(begin), size, MADV_DONTNEED);
#endif
}

}  // namespace caisson::sys
