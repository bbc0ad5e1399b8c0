// SPDX-License-Identifier: Apache-2.0
// Paths and ranges of requests to the registry server: first byte is the kind, the rest the text.
#include <cstdint>
#include <cstdlib>

#include "api/registry_paths.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson::api;
  if (size == 0) return 0;
  std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  auto path = parse_registry_path(text);
  if (is_repository_name(path.name) && (path.name.find("..") != std::string::npos || path.name.size() > 255)) abort();
  bool is_valid = false;
  int64_t total = data[0];
  if (auto range = parse_byte_range(text, total, is_valid))
    if (range->first < 0 || range->length <= 0 || range->first + range->length > total) abort();
  if (auto range = parse_content_range(text))
    if (range->first < 0 || range->length <= 0) abort();
  return 0;
}
