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
#include "image/store_check.h"
#include "image/transfer_board.h"
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
  std::string parent;  // id of the image that this one was made from here, "" for pulled, loaded and imported ones
  std::string manifest_type;  // media type of the manifest
  int64_t manifest_size = 0;
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

struct RemoveOptions {
  bool force = false;
  bool prune_parents = true;  // ancestors without names go, too
  bool untag_only = false;    // the name goes, with its repository's digests if it was the last; the image stays
};
// A container that runs from an image, and one that does not run; "" without one.
struct ImageUsers {
  std::string running, stopped;
};
using FindUsers = std::function<ImageUsers(const std::string& image_id)>;

// Bytes of files. Layers are what is unpacked, blobs what came from or goes to registries and archives.
struct Usage {
  int64_t layers_size = 0, blobs_size = 0;  // each shared one once
  struct PerImage {
    std::string id;
    int64_t size = 0, shared_size = 0;  // shared: bytes of layers that another image uses too
    int64_t blobs_size = 0, shared_blobs_size = 0;
    std::vector<std::pair<std::string, int64_t>> parts;  // its layers and blobs, each once, with their bytes
  };
  std::vector<PerImage> images;
};

// One JSON progress line of Docker's stream, already encoded, newline included.
using Progress = std::function<void(const std::string& json_line)>;

// Layers of an image for a container's root file system, base first. Keeps them from being removed.
struct LayerChain {
  std::vector<std::string> directories;
  std::shared_ptr<void> lease;
  std::string vfs_cache;  // of the vfs driver, "" for overlay
};

// A blob that is being fetched. What was written stays for a later try, also over restarts, when this is dropped
// unfinished. One thread's at a time.
class BlobIntake : public ByteSink {
 public:
  virtual int64_t size() const = 0;           // bytes that are here already; write() goes on behind them
  virtual Result<UniqueFd> open() const = 0;  // to read them, positioned at 0
  virtual Result<> finish() = 0;              // kCorrupt, and nothing kept, where the digest is another one
  virtual Result<> restart() = 0;             // forgets all of it
};

class ImageStore {
 public:
  // `vfs`: chains are for that driver, see vfs.h.
  static Result<std::unique_ptr<ImageStore>> open(const std::string& root, db::Database& database, bool vfs = false);
  virtual ~ImageStore() = default;

  // docker-archive (of any age) or OCI layout, plain or compressed. Of several platforms `platform` is taken, else this
  // machine's. Returns "Loaded image" names. kInvalid for anything that is no image; nothing stays behind then.
  virtual Result<std::vector<std::string>> load(ByteSource& tar, const Progress& progress,
                                                const std::optional<spec::Platform>& platform = std::nullopt) = 0;
  // docker-archive of the named images, readable by other engines.
  virtual Result<> save(const std::vector<std::string>& names, ByteSink& tar) = 0;

  // By name[:tag], name@digest, id or unique id prefix (with or without "sha256:").
  virtual Result<Image> find(const std::string& reference) = 0;
  virtual std::vector<Image> list() = 0;
  virtual Result<> tag(const std::string& source, const std::string& repo, const std::string& tag) = 0;
  // Docker's untag/delete/conflict rules and texts. An image that goes by force while stopped containers use it is
  // lost to everybody else, its layers stay until forget_unused().
  virtual Result<std::vector<RemovedImage>> remove(const std::string& reference, const RemoveOptions& options,
                                                   const FindUsers& find_users) = 0;
  // Lets go of removed images that no container uses any more. Cheap where there is none.
  virtual void forget_unused(const FindUsers& find_users) = 0;
  virtual Result<std::vector<HistoryEntry>> history(const std::string& reference) = 0;
  virtual Result<LayerChain> layers(const std::string& image_id) = 0;
  virtual Usage usage() = 0;

  // For pull: blobs and layers are brought in piecewise, then the image appears at once.
  virtual bool has_blob(const std::string& digest) = 0;
  virtual bool has_layer(const std::string& diff_id) = 0;
  virtual Result<UniqueFd> open_blob(const std::string& digest) = 0;  // positioned at 0
  // Stores bytes whose sha256 must be `digest`; kCorrupt otherwise.
  virtual Result<> add_blob(const std::string& digest, ByteSource& bytes) = 0;
  // The same piecewise and resumable, never more than `max_size` bytes. kConflict while somebody else brings it in.
  virtual Result<std::unique_ptr<BlobIntake>> begin_blob(const std::string& digest, int64_t max_size) = 0;
  // Gives up what interrupted downloads have left; the bytes freed.
  virtual int64_t drop_partial_blobs() = 0;
  // Who brings in which layer right now.
  TransferBoard& transfers() { return transfers_; }
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
  // Makes the image: its config and manifest blobs are there, all layers too. `parent` is the id of the image it was
  // made from, where it was made here.
  virtual Result<std::string> commit_image(const std::string& manifest_digest, const std::string& repo_tag,
                                           const std::string& repo_digest, const std::string& parent = "") = 0;
  // For push: the image is known in a registry as `repo_digest` ("host:5000/busybox@sha256:...") from now on.
  // Already there is success; kNotFound for an unknown image id.
  virtual Result<> add_repo_digest(const std::string& image_id, const std::string& repo_digest) = 0;
  // Until the returned lease is dropped, blobs and layers added meanwhile are not garbage collected.
  virtual std::shared_ptr<void> lease() = 0;

  // Keeps blobs that no image names, over restarts of the engine, until they are released. Those of kPullHolder go
  // after a day, or when an image names them. Only what is held for good is flushed first.
  enum class Hold : unsigned char { kUntilReboot, kLasting };
  virtual Result<> hold_blobs(const std::vector<std::string>& digests, const std::string& holder, Hold how) = 0;
  virtual Result<> release_blob(const std::string& digest, const std::string& holder) = 0;
  // A file on the same file system whose content is known to have the digest becomes a blob. Hold a lease().
  virtual Result<> adopt_blob(const std::string& digest, const std::string& path) = 0;
  // Removes what nobody holds any more; it happens by itself after removals of images.
  virtual void collect_garbage() = 0;
  // A container is made from the image or started. Cheap; last_use() is the latest of that and its tagging.
  virtual void note_use(const std::string& image_id) = 0;
  virtual int64_t last_use(const Image& image) = 0;
  virtual Result<> write_uses() = 0;  // makes them durable
  // Looks for what is missing or damaged, repairs what can be repaired, and tells. `deep` reads every byte.
  virtual StoreCheck check(bool deep, const FindUsers& find_users) = 0;
  // Path of caisson-fetch, which unpacks what the engine itself does not (packed_stream.h).
  virtual void use_worker(const std::string& fetch_program) = 0;

 private:
  TransferBoard transfers_;
};
inline constexpr std::string_view kPullHolder = "pull";
inline constexpr int64_t kPullHoldNs = int64_t{24} * 3600 * 1'000'000'000;

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
// The root file system of a container, or of an image where `upper` is "", by the chain's own driver.
Result<UniqueFd> mount_root(const LayerChain& chain, const std::string& upper, const std::string& work,
                            const OverlayOptions& options);

}  // namespace caisson::image
