// SPDX-License-Identifier: Apache-2.0
// What may be deleted: leases of operations in progress, layer chains of containers, and the collection
// of everything that no image, lease or chain holds.
#include "base/ids.h"
#include "base/log.h"
#include "image/disk_image_store.h"
#include "image/vfs.h"
#include "sys/files.h"

namespace caisson::image {

void DiskImageStore::protect_blob(const std::string& digest) {
  std::lock_guard lock(leases_->mutex);
  if (leases_->active > 0) leases_->blobs.insert(digest);
}

void DiskImageStore::protect_layer(const std::string& key) {
  std::lock_guard lock(leases_->mutex);
  if (leases_->active > 0) leases_->layers.insert(key);
}

std::shared_ptr<void> DiskImageStore::lease() {
  {
    std::lock_guard lock(leases_->mutex);
    ++leases_->active;
  }
  // The pointer's target does not matter, only when its deleter runs.
  return std::shared_ptr<void>(leases_.get(), [leases = leases_](void*) {
    DiskImageStore* store = nullptr;
    {
      std::lock_guard lock(leases->mutex);
      if (--leases->active > 0) return;
      if (!leases->blobs.empty() || !leases->layers.empty()) store = leases->store;
      leases->blobs.clear();
      leases->layers.clear();
    }
    if (store) store->collect();
  });
}

Result<LayerChain> DiskImageStore::layers(const std::string& image_id) {
  // Under the lock, so that no removal comes between the look-up and the count.
  std::lock_guard change_lock(change_mutex_);
  auto index = snapshot();
  auto kept = index->kept.find(image_id);
  auto stored = kept != index->kept.end() ? kept->second : TRY(index->find(image_id)).image;
  LayerChain chain;
  for (const std::string& key : stored->layer_keys) chain.directories.push_back(layers_.directory(key));
  chain.vfs_cache = vfs_cache_;
  // An image may have no layers, but overlay needs one.
  if (chain.directories.empty()) chain.directories.push_back(root_ + "/empty-layer");
  {
    std::lock_guard lock(leases_->mutex);
    for (const std::string& key : stored->layer_keys) ++leases_->chains[key];
  }
  chain.lease =
      std::shared_ptr<void>(leases_.get(), [leases = leases_, id = stored->image.id, keys = stored->layer_keys](void*) {
        DiskImageStore* store;
        {
          std::lock_guard lock(leases->mutex);
          for (const std::string& key : keys)
            if (auto found = leases->chains.find(key); found != leases->chains.end() && --found->second == 0)
              leases->chains.erase(found);
          store = leases->store;
        }
        // The image was removed meanwhile and its layers waited for this container.
        if (store && !store->snapshot()->images.contains(id)) store->collect();
      });
  return chain;
}

void DiskImageStore::detach_vfs_bases(const ImageIndex& index, std::vector<std::string>& doomed) {
  if (vfs_cache_.empty()) return;
  auto names = sys::list_dir(vfs_cache_);
  if (!names) return;  // none was made yet
  std::set<std::string> used;
  for (const auto* images : {&index.images, &index.kept})
    for (const auto& [id, stored] : *images) {
      std::vector<std::string> directories;
      for (const auto& key : stored->layer_keys) directories.push_back(layers_.directory(key));
      used.insert(vfs_base_name(directories));
    }
  for (const auto& name : *names) {
    // One that is being made is somebody's; after a crash open() takes it away.
    if (used.contains(name) || name.starts_with("making-")) continue;
    std::string path = tmp_ + "/image-vfs-" + random_hex(16);
    if (rename((vfs_cache_ + "/" + name).c_str(), path.c_str()) == 0) doomed.push_back(std::move(path));
  }
}

void DiskImageStore::collect(std::vector<std::string>* removed_layers) {
  std::vector<std::string> doomed;
  {
    std::lock_guard change_lock(change_mutex_);
    auto index = snapshot();
    std::set<std::string> used_blobs, used_layers;
    for (const auto& [id, stored] : index->images) {
      used_blobs.insert(stored->blobs.begin(), stored->blobs.end());
      used_layers.insert(stored->layer_keys.begin(), stored->layer_keys.end());
    }
    for (const auto& [id, stored] : index->kept)
      used_layers.insert(stored->layer_keys.begin(), stored->layer_keys.end());
    // Held over the deletions: whoever adds under a lease registers first, and then waits or is seen here.
    std::lock_guard lock(leases_->mutex);
    used_blobs.insert(leases_->blobs.begin(), leases_->blobs.end());
    used_layers.insert(leases_->layers.begin(), leases_->layers.end());
    for (const auto& [key, count] : leases_->chains) used_layers.insert(key);

    auto blobs = blobs_.list();
    auto held = held_blobs();
    // What cannot be known to be garbage stays.
    if (!blobs || !held)
      log_warn("collecting blobs: %s, ignoring", (blobs ? held.error() : blobs.error()).message.c_str());
    else
      for (const std::string& digest : *blobs)
        if (!used_blobs.contains(digest) && !held->contains(digest))
          if (auto done = blobs_.remove(digest); !done) log_warn("%s, ignoring", done.error().message.c_str());
    for (const std::string& key : layers_.keys()) {
      if (used_layers.contains(key)) continue;
      auto path = layers_.detach(key);
      if (!path) {
        log_warn("removing layer '%s': %s, ignoring", key.c_str(), path.error().message.c_str());
        continue;
      }
      doomed.push_back(std::move(*path));
      if (removed_layers) removed_layers->push_back(key);
    }
    detach_vfs_bases(*index, doomed);
  }
  // The slow part without any lock: nothing refers to these directories any more.
  for (const std::string& path : doomed)
    if (auto done = sys::remove_tree(path); !done) log_warn("%s, ignoring", done.error().message.c_str());
}

}  // namespace caisson::image
