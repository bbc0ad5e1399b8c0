// SPDX-License-Identifier: Apache-2.0
#include "image/image_index.h"

#include <algorithm>

#include "spec/reference.h"
#include "wire/digest.h"

namespace caisson::image {

std::string short_id(std::string_view id) {
  size_t colon = id.find(':');
  return std::string(id.substr(colon == std::string_view::npos ? 0 : colon + 1).substr(0, 12));
}

bool is_id_prefix(std::string_view id, std::string_view text) {
  if (text.empty()) return false;
  return id.starts_with(text) || digest::hex_of(id).starts_with(text);
}

static std::unexpected<Error> no_such_image(const std::string& name) {
  return fail(ErrorKind::kNotFound, "No such image: %s", name.c_str());
}

Result<ImageIndex::Found> ImageIndex::find(const std::string& text) const {
  auto by_id = [&](const std::string& id) -> Result<Found> {
    auto found = images.find(id);
    if (found == images.end()) return no_such_image(id);
    return Found{found->second, ""};
  };
  if (digest::is_valid("sha256:" + text)) return by_id("sha256:" + text);
  if (digest::is_valid(text)) return by_id(text);

  auto reference = TRY(spec::parse_reference_with_default_tag(text));
  // With both a tag and a digest the digest alone decides.
  spec::Reference key = reference;
  if (!key.digest.empty()) key.tag.clear();
  if (auto named = names.find(key.full()); named != names.end())
    if (auto found = images.find(named->second); found != images.end()) return Found{found->second, key.full()};

  std::string_view prefix = text;
  if (prefix.starts_with("sha256:")) prefix.remove_prefix(7);
  auto found = images.lower_bound("sha256:" + std::string(prefix));
  if (found != images.end() && is_id_prefix(found->first, prefix)) {
    auto next = std::next(found);
    if (next == images.end() || !is_id_prefix(next->first, prefix)) return Found{found->second, ""};
  }
  return no_such_image(reference.familiar());
}

std::vector<std::string> ImageIndex::names_of(const std::string& id) const {
  std::vector<std::string> out;
  for (const auto& [name, target] : names)
    if (target == id) out.push_back(name);
  return out;
}

bool ImageIndex::has_children(const std::string& id) const {
  return std::any_of(images.begin(), images.end(), [&](const auto& entry) { return entry.second->image.parent == id; });
}

void ImageIndex::refresh(const std::set<std::string>& ids) {
  for (const std::string& id : ids) {
    auto found = images.find(id);
    if (found == images.end()) continue;
    auto changed = std::make_shared<StoredImage>(*found->second);
    changed->image.repo_tags.clear();
    changed->image.repo_digests.clear();
    for (const std::string& name : names_of(id)) {
      auto reference = spec::parse_reference(name);
      if (!reference) continue;
      (reference->digest.empty() ? changed->image.repo_tags : changed->image.repo_digests)
          .push_back(reference->familiar());
    }
    found->second = std::move(changed);
  }
}

std::string ImageIndex::to_oci_index() const {
  spec::Index index;
  index.media_type = spec::kOciIndex;
  for (const auto& [id, stored] : images) {
    spec::Descriptor descriptor;
    descriptor.media_type = stored->image.manifest_type;
    descriptor.digest = stored->image.manifest_digest;
    descriptor.size = stored->image.manifest_size;
    if (stored->image.repo_tags.empty()) index.manifests.push_back(descriptor);
    for (const std::string& tag : stored->image.repo_tags) {
      descriptor.annotations = {{std::string(spec::kRefNameAnnotation), tag}};
      if (auto reference = spec::parse_reference(tag))
        descriptor.annotations.emplace(spec::kContainerdNameAnnotation, reference->full());
      index.manifests.push_back(descriptor);
    }
  }
  return json::encode(index);
}

}  // namespace caisson::image
