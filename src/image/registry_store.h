// SPDX-License-Identifier: Apache-2.0
// What the registry server serves: repositories with tags, manifests of any kind and blobs, over the engine's own
// content store. Rows in the state database; every blob that a repository has is held in the store. What is pushed as
// an image of this machine's kind becomes an image of the engine, too, and images that are tagged with the registry's
// own name are served as they are. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "image/image_store.h"
#include "image/registry_uploads.h"

namespace caisson::image {

inline constexpr size_t kMaxRegistryManifest = 4 << 20;

struct RegistryManifest {
  std::string digest, media_type;
  int64_t size = 0;
  std::string subject, artifact_type;  // "" for none
  std::map<std::string, std::string> annotations;
};

class RegistryStore {
 public:
  ~RegistryStore();
  static Result<std::unique_ptr<RegistryStore>> open(const std::string& root, db::Database& database,
                                                     ImageStore& images);

  // "localhost:5000": images `localhost:5000/NAME:TAG` are served as NAME, and what is pushed as NAME gets that name.
  void set_local_name(const std::string& name);
  std::string local_name() const;
  // How a name is taken from a local image.
  void set_untag(std::function<Result<>(const std::string& name)> untag) { remove_name_ = std::move(untag); }
  RegistryUploads& uploads() { return uploads_; }

  std::vector<std::string> repositories() const;  // sorted
  bool has_repository(const std::string& repository) const;
  std::vector<std::string> tags(const std::string& repository) const;  // sorted as the specification wants it

  bool has_blob(const std::string& repository, const std::string& digest) const;
  Result<UniqueFd> open_blob(const std::string& repository, const std::string& digest) const;  // kNotFound
  // The finished upload at `path` becomes a blob of the repository.
  Result<> adopt_blob(const std::string& repository, const std::string& digest, const std::string& path);
  // False: `from` has no such blob.
  Result<bool> mount_blob(const std::string& from, const std::string& repository, const std::string& digest);
  Result<> remove_blob(const std::string& repository, const std::string& digest);

  // By tag or digest; kNotFound.
  Result<RegistryManifest> find_manifest(const std::string& repository, const std::string& reference) const;
  Result<std::string> read_manifest(const RegistryManifest& manifest) const;
  // kInvalid: no manifest of that type; kNotFound: it names a blob that the repository does not have; kCorrupt:
  // `reference` is another digest.
  Result<RegistryManifest> put_manifest(const std::string& repository, const std::string& reference,
                                        const std::string& media_type, const std::string& body);
  // A tag, or a manifest with all of its tags and the blobs that nothing else in the repository names.
  Result<> remove_manifest(const std::string& repository, const std::string& reference);
  std::vector<RegistryManifest> referrers(const std::string& repository, const std::string& digest) const;

  // The manifest of this machine's kind that `manifest` is or lists; nullopt for artifacts and other machines' images.
  std::optional<std::string> image_of(const RegistryManifest& manifest) const;

  // Removes manifests without a tag that no index or subject keeps, and blobs that no manifest names; what it freed.
  struct Pruned {
    int64_t manifests = 0, blobs = 0;
  };
  Result<Pruned> prune(bool untagged);

 private:
  struct Repository {
    std::map<std::string, std::string> tags;  // to digests
    struct Manifest {
      RegistryManifest about;
      std::vector<std::string> blobs, children;  // config and layers; manifests of an index
    };
    std::map<std::string, Manifest> manifests;
    struct Blob {
      int64_t since_ns = 0;
      bool was_named = false;  // a manifest has named it
    };
    std::map<std::string, Blob> blobs;
    bool empty() const { return tags.empty() && manifests.empty() && blobs.empty(); }
  };

  RegistryStore(const std::string& root, db::Database& database, ImageStore& images);
  Result<> load();
  Result<> release_forgotten();
  Result<> link_blob(const std::string& repository, const std::string& digest);
  Result<> forget_manifest(const std::string& repository, const std::string& digest);
  Result<int64_t> sweep(const std::string& repository);
  std::vector<Image> local_images(const std::string& repository) const;
  std::optional<Image> local_image(const std::string& repository, const std::string& tag) const;
  std::string holder(const std::string& repository) const { return "registry/" + repository; }

  db::Database& database_;
  ImageStore& images_;
  RegistryUploads uploads_;
  std::function<Result<>(const std::string& name)> remove_name_ = [](const std::string&) -> Result<> { return {}; };
  struct Mutex;
  std::unique_ptr<Mutex> mutex_;  // guards all below
  std::string local_name_;
  std::map<std::string, Repository> repositories_;
};

}  // namespace caisson::image
