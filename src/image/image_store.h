// SPDX-License-Identifier: Apache-2.0
// Images on disk: blobs as an OCI image layout, layers unpacked once and shared, names in the state
// database. Thread-safe. Blocking (disk). Everything half-made lives under <root>/tmp and is dropped
// by open().
//
//   <root>/images/{oci-layout,index.json,blobs/sha256/...}   <root>/layers/<diff-id or chain-id>/
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "db/database.h"
#include "spec/oci_image.h"

namespace caisson::image {

struct Image {
  std::string id;                         // "sha256:<64 hex>", digest of the config
  std::vector<std::string> repo_tags;     // "busybox:latest", Docker's familiar form
  std::vector<std::string> repo_digests;  // "host:5000/busybox@sha256:..."
  spec::ImageConfig config;               // the parsed config blob
  std::string config_json;
  std::string manifest_digest;             // the stored manifest blob this image was made from
  std::vector<std::string> layer_digests;  // manifest's layer blobs, in order, base first
  int64_t size = 0;                        // bytes of all unpacked layers
  int64_t created_ns = 0;
  int64_t last_tagged_ns = 0;
};

struct HistoryEntry {
  std::string id;  // image id for the newest entry, else "<missing>"
  int64_t created_s = 0;
  std::string created_by, comment;
  std::vector<std::string> tags;
  int64_t size = 0;
};

struct RemovedImage {
  std::string untagged;  // one of the two is set
  std::string deleted;
};

// Bytes of files. Layers are what is unpacked, blobs what came from or goes to registries and archives.
struct Usage {
  int64_t layers_size = 0, blobs_size = 0;  // each shared one once
  struct PerImage {
    std::string id;
    int64_t size = 0, shared_size = 0;  // shared: bytes of layers that another image uses too
    int64_t blobs_size = 0, shared_blobs_size = 0;
  };
  std::vector<PerImage> images;
};

// One JSON progress line of Docker's stream, already encoded, newline included.
using Progress = std::function<void(const std::string& json_line)>;

// Layers of an image for a container's root file system, base first. Keeps them from being removed.
struct LayerChain {
  std::vector<std::string> directories;
  std::shared_ptr<void> lease;
};

class ImageStore {
 public:
  static Result<std::unique_ptr<ImageStore>> open(const std::string& root, db::Database& database);
  virtual ~ImageStore() = default;

  // docker-archive (old and new) or OCI layout, plain or gzip/zstd compressed. Returns "Loaded image"
  // names. kInvalid for anything that is no image; nothing stays behind then.
  virtual Result<std::vector<std::string>> load(ByteSource& tar, const Progress& progress) = 0;
  // docker-archive of the named images, readable by other engines.
  virtual Result<> save(const std::vector<std::string>& names, ByteSink& tar) = 0;

  // By name[:tag], name@digest, id or unique id prefix (with or without "sha256:").
  virtual Result<Image> find(const std::string& reference) = 0;
  virtual std::vector<Image> list() = 0;
  virtual Result<> tag(const std::string& source, const std::string& repo, const std::string& tag) = 0;
  // `used_by` gives the id of a container that uses an image id, or "". Docker's untag/delete/conflict
  // rules and texts.
  virtual Result<std::vector<RemovedImage>> remove(
      const std::string& reference, bool force,
      const std::function<std::string(const std::string& image_id)>& used_by) = 0;
  virtual Result<std::vector<HistoryEntry>> history(const std::string& reference) = 0;
  virtual Result<LayerChain> layers(const std::string& image_id) = 0;
  virtual Usage usage() = 0;

  // For pull: blobs and layers are brought in piecewise, then the image appears at once.
  virtual bool has_blob(const std::string& digest) = 0;
  virtual bool has_layer(const std::string& diff_id) = 0;
  virtual Result<UniqueFd> open_blob(const std::string& digest) = 0;  // positioned at 0
  // Stores bytes whose sha256 must be `digest`; kCorrupt otherwise.
  virtual Result<> add_blob(const std::string& digest, ByteSource& bytes) = 0;
  // Unpacks an uncompressed layer tar; its sha256 must be `diff_id` (kCorrupt otherwise). `parents`
  // are the diff-ids below, base first. Layers may be added in parallel: where a parent is not here yet the
  // layer is unpacked alone, and kConflict says that it cannot be (it must be added again after its parents).
  virtual Result<> add_layer(const std::string& diff_id, const std::vector<std::string>& parents, ByteSource& tar) = 0;
  // A layer of this engine's own: stores what `tar` gives as a gzip blob, unpacks it over `parents` (diff-ids, base
  // first). The same bytes give the same digests. Hold a lease().
  struct MadeLayer {
    std::string diff_id;
    spec::Descriptor blob;
  };
  virtual Result<MadeLayer> make_layer(const std::vector<std::string>& parents, ByteSource& tar) = 0;
  // Makes the image: its config and manifest blobs are there, all layers too.
  virtual Result<std::string> commit_image(const std::string& manifest_digest, const std::string& repo_tag,
                                           const std::string& repo_digest) = 0;
  // For push: the image is known in a registry as `repo_digest` ("host:5000/busybox@sha256:...") from now on.
  // Already there is success; kNotFound for an unknown image id.
  virtual Result<> add_repo_digest(const std::string& image_id, const std::string& repo_digest) = 0;
  // Until the returned lease is dropped, blobs and layers added meanwhile are not garbage collected.
  virtual std::shared_ptr<void> lease() = 0;
};

// The overlay of a container: lowers base first, upper and work directories created by the caller.
// A detached mount.
struct OverlayOptions {
  bool is_volatile = false;  // no flush at unmount: for containers that are removed on exit
  bool read_only = false;
  // Copy-up of metadata alone (chmod, chown). Leaves overlay's metacopy and redirect marks in `upper`,
  // which then cannot be read as a plain change set.
  bool metacopy = false;
};
Result<UniqueFd> mount_overlay(const std::vector<std::string>& lowers, const std::string& upper,
                               const std::string& work, const OverlayOptions& options);

}  // namespace caisson::image
