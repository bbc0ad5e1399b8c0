// SPDX-License-Identifier: Apache-2.0
// Plan decoder on arbitrary bytes; what decodes must encode to the same bytes.
#include <cstdlib>

#include "runtime/plan.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (auto plan = caisson::runtime::decode_plan(bytes); plan && caisson::runtime::encode(*plan) != bytes) abort();
  if (auto process = caisson::runtime::decode_process_plan(bytes); process && caisson::runtime::encode(*process) != bytes)
    abort();
  return 0;
}
