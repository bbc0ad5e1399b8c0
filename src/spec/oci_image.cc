// SPDX-License-Identifier: Apache-2.0
#include "spec/oci_image.h"

#include "base/text.h"
#include "wire/digest.h"

namespace caisson::spec {

bool is_index_type(std::string_view media_type) { return media_type == kOciIndex || media_type == kDockerManifestList; }

bool is_manifest_type(std::string_view media_type) {
  return media_type == kOciManifest || media_type == kDockerManifest;
}

std::string chain_id(const std::vector<std::string>& diff_ids, size_t count) {
  std::string chain;
  for (size_t i = 0; i < count && i < diff_ids.size(); ++i)
    chain = i == 0 ? diff_ids[0] : digest::sha256(chain + " " + diff_ids[i]);
  return chain;
}

Result<> check_config(const ImageConfig& config) {
  constexpr size_t kMaxLayers = 500;
  if (config.rootfs.type != "layers")
    return fail(ErrorKind::kInvalid, "image config: root file system of type %s is not supported",
                quoted(config.rootfs.type).c_str());
  if (config.rootfs.diff_ids.size() > kMaxLayers)
    return fail(ErrorKind::kInvalid, "image config: %zu layers, more than %zu", config.rootfs.diff_ids.size(),
                kMaxLayers);
  for (const std::string& id : config.rootfs.diff_ids)
    if (!digest::is_valid(id)) return fail(ErrorKind::kInvalid, "image config: %s is no diff-id", quoted(id).c_str());
  if (config.history.empty()) return {};
  size_t with_layer = 0;
  for (const ImageHistory& entry : config.history) with_layer += entry.empty_layer ? 0 : 1;
  if (with_layer > config.rootfs.diff_ids.size())
    return fail(ErrorKind::kInvalid, "image config: history has %zu layers and the root file system %zu", with_layer,
                config.rootfs.diff_ids.size());
  return {};
}

}  // namespace caisson::spec
