// SPDX-License-Identifier: Apache-2.0
// What a worker that was taken over could say to the engine.
#include <cstdint>
#include <cstdlib>

#include "image/fetch_protocol.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  std::string text(reinterpret_cast<const char*>(data), size);
  if (auto reply = image::parse_fetch_reply(text)) {
    if (reply->size < -1 || reply->message.size() > 4096) abort();
    if (reply->done && !reply->ok && reply->message.empty()) abort();
  }
  (void)image::parse_fetch_job(text);
  return 0;
}
