// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>

#include "cli/template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto kData =
      caisson::cli::JsonValue::parse(R"({"A":{"B":[1,"x",null]},"L":{"k":"v"},"S":"text","N":-5,"T":true})");
  auto parsed = caisson::cli::Template::parse({reinterpret_cast<const char*>(data), size});
  if (parsed) (void)parsed->execute(*kData);
  return 0;
}
