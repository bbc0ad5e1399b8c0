// SPDX-License-Identifier: Apache-2.0
// Any bytes through the tar reader: no crash, no endless loop, limits kept.
#include <cstdlib>

#include "wire/tar_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  caisson::StringSource source({reinterpret_cast<const char*>(data), size});
  caisson::tar::Reader reader(source,
                              {.max_path = 4096, .max_pax_bytes = 1 << 16, .max_entries = 1000, .allow_sparse = true});
  char buffer[777];
  while (true) {
    auto entry = reader.next();
    if (!entry || !*entry) return 0;
    if ((*entry)->path.size() > 4096 || (*entry)->path.find('\0') != std::string::npos) abort();
    while (true) {
      (void)reader.skip_hole();
      auto got = reader.read(buffer);
      if (!got || *got == 0) break;
    }
  }
}
