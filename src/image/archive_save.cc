// SPDX-License-Identifier: Apache-2.0
// save(): one tar that is a docker-archive and an OCI layout at once, as Docker 25 and later write it.
// Layers go out as they are stored. The same images always give the same bytes.
#include "image/disk_image_store.h"
#include "spec/reference.h"
#include "sys/files.h"
#include "wire/digest.h"
#include "wire/tar_writer.h"

namespace caisson::image {
namespace {

struct SavedImage {
  std::shared_ptr<const StoredImage> image;
  std::set<std::string> tags;  // full names
};

std::string blob_path(const std::string& digest) { return "blobs/sha256/" + std::string(digest::hex_of(digest)); }

// A name without a tag stands for all tags of the repository, an id for the image without names.
Result<std::map<std::string, SavedImage>> select(const ImageIndex& index, const std::vector<std::string>& names) {
  std::map<std::string, SavedImage> out;
  for (const std::string& text : names) {
    auto reference = spec::parse_reference(text);
    bool any = false;
    if (reference && reference->tag.empty() && reference->digest.empty()) {
      for (const auto& [name, id] : index.names) {
        auto known = spec::parse_reference(name);
        auto image = index.images.find(id);
        if (!known || known->name() != reference->name() || known->tag.empty() || image == index.images.end()) continue;
        auto& saved = out[id];
        saved.image = image->second;
        saved.tags.insert(name);
        any = true;
      }
    }
    if (any) continue;
    auto found = TRY(index.find(text));
    auto& saved = out[found.image->image.id];
    saved.image = found.image;
    if (!found.name.empty() && !found.name.contains('@')) saved.tags.insert(found.name);
  }
  return out;
}

struct Documents {
  std::vector<spec::ArchiveImage> archive;
  spec::Index index;
  std::map<std::string, std::map<std::string, std::string>> repositories;
  std::set<std::string> blobs;
};

Documents describe(const std::map<std::string, SavedImage>& images) {
  Documents out;
  out.index.media_type = spec::kOciIndex;
  for (const auto& [id, saved] : images) {
    const StoredImage& stored = *saved.image;
    out.blobs.insert(stored.blobs.begin(), stored.blobs.end());
    spec::ArchiveImage archived{.config = blob_path(id)};
    for (const std::string& layer : stored.image.layer_digests) archived.layers.push_back(blob_path(layer));
    spec::Descriptor descriptor;
    auto manifest = json::decode<spec::Manifest>(stored.manifest_json);
    descriptor.media_type =
        manifest && !manifest->media_type.empty() ? manifest->media_type : std::string(spec::kOciManifest);
    descriptor.digest = stored.image.manifest_digest;
    descriptor.size = static_cast<int64_t>(stored.manifest_json.size());
    if (saved.tags.empty()) out.index.manifests.push_back(descriptor);
    for (const std::string& tag : saved.tags) {
      auto reference = spec::parse_reference(tag);
      if (!reference) continue;
      archived.repo_tags.push_back(reference->familiar());
      descriptor.annotations = {{std::string(spec::kContainerdNameAnnotation), tag},
                                {std::string(spec::kRefNameAnnotation), reference->tag}};
      out.index.manifests.push_back(descriptor);
      // What the oldest readers look at: repository, tag and the topmost layer.
      if (!stored.image.layer_digests.empty())
        out.repositories[reference->familiar_name()][reference->tag] =
            std::string(digest::hex_of(stored.image.layer_digests.back()));
    }
    out.archive.push_back(std::move(archived));
  }
  return out;
}

}  // namespace

Result<> DiskImageStore::save(const std::vector<std::string>& names, ByteSink& sink) {
  if (names.empty()) return fail(ErrorKind::kInvalid, "no images given");
  // Nothing of it may be collected while a slow client reads.
  auto guard = lease();
  auto images = TRY(select(*snapshot(), names));
  Documents documents = describe(images);
  for (const std::string& digest : documents.blobs)
    if (!has_blob(digest)) return fail(ErrorKind::kNotFound, "image blob '%s' is not stored here", digest.c_str());

  tar::Writer writer(sink);
  auto directory = [&](const char* path) {
    return writer.begin({.type = tar::EntryType::kDirectory, .path = path, .mode = 0755});
  };
  TRY(directory("blobs/"));
  TRY(directory("blobs/sha256/"));
  for (const std::string& digest : documents.blobs) {
    auto fd = TRY(blobs_.open_blob(digest));
    sys::FdSource source(fd.get());
    TRY(writer.add({.path = blob_path(digest), .mode = 0644, .size = static_cast<uint64_t>(TRY(blobs_.size(digest)))},
                   source));
  }
  TRY(writer.add({.path = "index.json"}, json::encode(documents.index)));
  TRY(writer.add({.path = "manifest.json"}, json::encode(documents.archive)));
  TRY(writer.add({.path = "oci-layout"}, json::encode(spec::ImageLayout{})));
  if (!documents.repositories.empty()) TRY(writer.add({.path = "repositories"}, json::encode(documents.repositories)));
  return writer.finish();
}

}  // namespace caisson::image
