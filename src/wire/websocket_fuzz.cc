// SPDX-License-Identifier: Apache-2.0
// A client's frames, fed in two parts.
#include <cstdint>
#include <string_view>

#include "wire/websocket.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  caisson::websocket::FrameReader reader;
  for (auto part : {bytes.substr(0, size / 2), bytes.substr(size / 2)}) {
    reader.feed(part);
    while (true) {
      auto piece = reader.next();
      if (!piece || !*piece) break;
    }
  }
  return 0;
}
