// SPDX-License-Identifier: Apache-2.0
// What images there are and what they are called: an immutable snapshot that readers share, and Docker's
// rules for finding one. Pure; the store persists it.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "image/image_store.h"

namespace caisson::image {

// "sha256:0123456789ab..." to "0123456789ab".
std::string short_id(std::string_view id);
// Does `text` name image `id` by (a prefix of) its id?
bool is_id_prefix(std::string_view id, std::string_view text);

// An image with the store's own bookkeeping.
struct StoredImage {
  Image image;  // repo_tags and repo_digests filled in
  std::string manifest_json;
  std::vector<std::string> layer_keys;  // base first
  std::vector<std::string> blobs;       // manifest, config, layers
};

struct ImageIndex {
  std::map<std::string, std::shared_ptr<const StoredImage>> images;  // by id
  // Removed by force, but containers stand on their layers. Not found by anybody, without names and blobs.
  std::map<std::string, std::shared_ptr<const StoredImage>> kept;
  // Full names ("docker.io/library/busybox:latest", "...@sha256:...") to image ids.
  std::map<std::string, std::string> names;

  struct Found {
    std::shared_ptr<const StoredImage> image;
    std::string name;  // the full name it was found by; "" for an id
  };
  // kNotFound `No such image: x:latest`, kInvalid for what is no reference.
  Result<Found> find(const std::string& reference) const;
  std::vector<std::string> names_of(const std::string& id) const;  // sorted
  bool has_children(const std::string& id) const;
  // Fills in the images' repo_tags and repo_digests after names were changed.
  void refresh(const std::set<std::string>& ids);
  // The layout's index.json.
  std::string to_oci_index() const;
};

}  // namespace caisson::image
