// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>

#include "cli/json_value.h"
#include "cli/progress.h"
#include "cli/stdcopy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  caisson::cli::FrameReader frames([](int, std::string_view) {});
  (void)frames.feed(text.substr(0, size / 2));
  (void)frames.feed(text.substr(size / 2));
  caisson::cli::JsonSplitter splitter;
  (void)splitter.feed(text, [](std::string_view one) -> caisson::Result<> {
    (void)caisson::cli::JsonValue::parse(one);
    return {};
  });
  (void)caisson::cli::indent_json(text);
  return 0;
}
