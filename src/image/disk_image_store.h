// SPDX-License-Identifier: Apache-2.0
// The ImageStore over BlobStore, LayerStore, the database and an ImageIndex snapshot. Split by concern:
// disk_image_store.cc (open, lookups, commit), store_remove.cc, store_collect.cc (leases, garbage),
// archive_load.cc, archive_save.cc.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "image/blob_store.h"
#include "image/image_index.h"
#include "image/image_store.h"
#include "image/layer_store.h"
#include "image/partial_blobs.h"

namespace caisson::image {

class DiskImageStore : public ImageStore {
 public:
  DiskImageStore(std::string root, db::Database& database, BlobStore blobs);
  ~DiskImageStore() override;
  void use_vfs() { vfs_cache_ = root_ + "/vfs"; }
  Result<> open();

  Result<std::vector<std::string>> load(ByteSource& tar, const Progress& progress,
                                        const std::optional<spec::Platform>& platform) override;
  Result<> save(const std::vector<std::string>& names, ByteSink& tar) override;
  void use_worker(const std::string& fetch_program) override { fetch_program_ = fetch_program; }
  const std::string& fetch_program() const { return fetch_program_; }
  Result<Image> find(const std::string& reference) override;
  std::vector<Image> list() override;
  Result<> tag(const std::string& source, const std::string& repo, const std::string& tag) override;
  Result<std::vector<RemovedImage>> remove(const std::string& reference, const RemoveOptions& options,
                                           const FindUsers& find_users) override;
  void forget_unused(const FindUsers& find_users) override;
  Result<std::vector<HistoryEntry>> history(const std::string& reference) override;
  Result<LayerChain> layers(const std::string& image_id) override;
  Usage usage() override;
  bool has_blob(const std::string& digest) override;
  bool has_layer(const std::string& diff_id) override;
  Result<UniqueFd> open_blob(const std::string& digest) override;
  Result<> add_blob(const std::string& digest, ByteSource& bytes) override;
  Result<std::unique_ptr<BlobIntake>> begin_blob(const std::string& digest, int64_t max_size) override;
  int64_t drop_partial_blobs() override;
  Result<> add_layer(const std::string& diff_id, const std::vector<std::string>& parents, ByteSource& tar) override;
  Result<MadeLayer> make_layer(const std::vector<std::string>& parents, ByteSource& tar) override;
  Result<std::string> commit_image(const std::string& manifest_digest, const std::string& repo_tag,
                                   const std::string& repo_digest, const std::string& parent = "") override;
  Result<> add_repo_digest(const std::string& image_id, const std::string& repo_digest) override;
  std::shared_ptr<void> lease() override;
  Result<> hold_blobs(const std::vector<std::string>& digests, const std::string& holder, Hold how) override;
  Result<> adopt_blob(const std::string& digest, const std::string& path) override;
  void collect_garbage() override { collect(); }
  Result<> release_blob(const std::string& digest, const std::string& holder) override;
  StoreCheck check(bool deep, const FindUsers& find_users) override;
  void note_use(const std::string& image_id) override;
  int64_t last_use(const Image& image) override;
  Result<> write_uses() override;

  // For loading and saving.
  std::shared_ptr<const ImageIndex> snapshot() const;
  BlobStore& blobs() { return blobs_; }
  LayerStore& layer_store() { return layers_; }
  Result<> publish(SpooledBlob& blob);
  // Is the layer that is last in `diff_ids` here? Then it stays until the caller's lease ends.
  bool keep_layer(const std::vector<std::string>& diff_ids);
  // `tar` is known to have the digest `diff_id` when `verified`.
  Result<> add_layer(const std::string& diff_id, const std::vector<std::string>& parents, ByteSource& tar,
                     bool verified);

 private:
  // What keeps blobs and layers from being collected; outlives the store in leases that were handed out.
  struct Leases;

  Result<std::shared_ptr<StoredImage>> read_image(const std::string& manifest_digest) const;
  // Writes names and images to the database and makes `next` the snapshot. Under change_mutex_.
  Result<> apply(ImageIndex next, const std::set<std::string>& changed_ids);
  // Everything published so far is on disk afterwards. One flush of the file system, none if nothing is new.
  Result<> flush();
  Result<> open_uses();
  Result<> open_holds();
  Result<> expire_holds(int64_t now);
  Result<std::set<std::string>> held_blobs();
  std::string blob_problem(const std::string& digest, int64_t wanted_size, bool deep) const;
  Result<bool> restore_document(const std::string& digest);
  void check_blobs(StoreCheck& out);
  void check_at_start();
  void check_layer(const StoredImage& stored, size_t number, const FindUsers& find_users, StoreCheck& out);
  bool is_under_container(const std::string& key, const FindUsers& find_users) const;
  Result<std::string> unpack_again(const StoredImage& stored, size_t number, const std::string& target);
  int64_t remove_strays();
  // Under change_mutex_ and the leases' lock: merged trees that no image and no container needs; paths to delete.
  void detach_vfs_bases(const ImageIndex& index, std::vector<std::string>& doomed);
  Result<> rebuild_layers(const StoredImage& stored);
  void protect_blob(const std::string& digest);
  void protect_layer(const std::string& key);
  // Drops what no image, lease or chain holds. `removed_layers`: keys of layers that went.
  void collect(std::vector<std::string>* removed_layers = nullptr);

  std::string root_, tmp_;
  std::string vfs_cache_;  // "" with overlay
  db::Database& database_;
  BlobStore blobs_;
  LayerStore layers_;
  PartialBlobs partial_;
  std::shared_ptr<Leases> leases_;
  std::atomic<uint64_t> published_ = 0, flushed_ = 0;  // counts of blobs and layers
  std::mutex change_mutex_;                            // one change of the index at a time; held over disk writes
  mutable std::mutex snapshot_mutex_;                  // guards the pointer only
  std::shared_ptr<const ImageIndex> snapshot_;
  struct Use {
    int64_t at_ns = 0;
    bool is_written = false;
  };
  std::mutex uses_mutex_;
  std::map<std::string, Use> uses_;  // by image id
  std::string fetch_program_;
};

// What a Leases object guards, seen by store_collect.cc and the store.
struct DiskImageStore::Leases {
  std::mutex mutex;
  DiskImageStore* store = nullptr;  // null once the store is gone
  int active = 0;
  std::set<std::string> blobs, layers;  // touched while a lease was active
  std::map<std::string, int> chains;    // layer keys in use by containers
};

}  // namespace caisson::image
