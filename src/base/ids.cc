// SPDX-License-Identifier: Apache-2.0
#include "base/ids.h"

#include <sys/random.h>

#include <cstdlib>

#include "base/text.h"

namespace caisson {

void random_bytes(void* data, size_t size) {
  auto* at = static_cast<char*>(data);
  while (size > 0) {
    ssize_t got = getrandom(at, size, 0);
    // Only EINTR can happen here once the kernel's pool is ready; anything else would make ids guessable.
    if (got < 0) {
      if (errno == EINTR) continue;
      abort();
    }
    at += got;
    size -= static_cast<size_t>(got);
  }
}

std::string random_hex(size_t digits) {
  std::string bytes((digits + 1) / 2, '\0');
  random_bytes(bytes.data(), bytes.size());
  return to_hex(bytes.data(), bytes.size()).substr(0, digits);
}

std::string random_id() {
  while (true) {
    std::string id = random_hex(64);
    if (id.find_first_of("abcdef") < 12) return id;
  }
}

}  // namespace caisson
