// SPDX-License-Identifier: Apache-2.0
// Manifests, indexes and configs as strangers write them, and the choices made from them.
#include <cstdint>
#include <cstdlib>

#include "image/pull_select.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  std::string text(reinterpret_cast<const char*>(data), size);
  static const auto wanted = *image::parse_platform("linux/amd64");
  (void)image::classify_document(text, "");
  (void)image::classify_document(text, std::string(spec::kOciManifest));
  if (auto index = json::decode<spec::Index>(text)) {
    auto chosen = image::select_platform(*index, wanted);
    if (chosen && !chosen->digest.starts_with("sha256:")) abort();
  }
  auto manifest = json::decode<spec::Manifest>(text);
  if (manifest && image::check_manifest(*manifest))
    for (auto& layer : manifest->layers)
      if (layer.size < 0 || !layer.urls.empty()) abort();
  auto config = json::decode<spec::ImageConfig>(text);
  if (config && manifest && image::check_image(*manifest, *config) &&
      config->rootfs.diff_ids.size() != manifest->layers.size())
    abort();
  (void)image::parse_platform(text);
  return 0;
}
