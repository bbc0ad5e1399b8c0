// SPDX-License-Identifier: Apache-2.0
// Names of images: what is accepted reads the same when it is written out again.
#include <cstdint>
#include <cstdlib>

#include "spec/reference.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson::spec;
  std::string text(reinterpret_cast<const char*>(data), size);
  auto reference = parse_reference(text);
  if (!reference) return 0;
  if (reference->domain.empty() || reference->path.empty()) abort();
  auto again = parse_reference(reference->full());
  if (!again || !(*again == *reference)) abort();
  auto familiar = parse_reference(reference->familiar());
  if (familiar && !(*familiar == *reference)) abort();
  (void)is_valid_tag(text);
  (void)is_valid_digest(text);
  return 0;
}
