// SPDX-License-Identifier: Apache-2.0
// What a worker that was taken over could say to the engine, and the documents it could pass on.
#include <cstdint>
#include <cstdlib>

#include "image/fetch_protocol.h"
#include "image/pull_select.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  std::string text(reinterpret_cast<const char*>(data), size);
  if (auto reply = image::parse_fetch_reply(text)) {
    if (reply->size < -1 || reply->message.size() > 4096) abort();
    if (reply->done && !reply->ok && reply->message.empty()) abort();
  }
  (void)image::parse_fetch_job(text);
  (void)image::classify_document(text, "");
  if (auto index = json::decode<spec::Index>(text))
    (void)image::select_platform(*index, *image::parse_platform("linux/amd64"));
  if (auto manifest = json::decode<spec::Manifest>(text)) (void)image::check_manifest(*manifest);
  (void)image::parse_platform(text);
  return 0;
}
