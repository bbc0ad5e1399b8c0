// SPDX-License-Identifier: Apache-2.0
// Unpacked layers, one directory each (<root>/layers/<64 hex>), shared by all images that have them.
// A layer's key is its diff-id when its tar needed nothing from the layers below, else its chain-id: then
// the directory fits that chain only. Thread-safe. A directory survives a crash once its database row exists.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "db/database.h"

namespace caisson::image {

class LayerStore {
 public:
  LayerStore(std::string root, std::string tmp, db::Database& database);
  // Loads the rows; directories without a row and rows without a directory go.
  Result<> open();

  // Key of the layer that is last in `diff_ids` (base first).
  std::optional<std::string> find(const std::vector<std::string>& diff_ids) const;
  // Keys of the whole stack; kNotFound names the first that is missing.
  Result<std::vector<std::string>> find_all(const std::vector<std::string>& diff_ids) const;
  // Usable over any parents.
  bool has_self_contained(const std::string& diff_id) const;

  // Unpacks `tar` and returns the key. The digest of its bytes must be `diff_id` (kCorrupt) unless the
  // caller has checked that already. A layer that is there is left alone and `tar` not read. Without all
  // of its parents a layer is unpacked alone, kConflict if it proves to need them.
  Result<std::string> add(const std::string& diff_id, const std::vector<std::string>& parents, ByteSource& tar,
                          bool already_verified = false);
  // Writes the rows of layers that have none, inside the caller's transaction; what add() made must have been
  // flushed before. mark_recorded() follows once that transaction has succeeded.
  Result<> record(const std::vector<std::string>& keys);
  void mark_recorded(const std::vector<std::string>& keys);
  std::string directory(const std::string& key) const;
  int64_t size(const std::string& key) const;
  std::vector<std::string> keys() const;
  // Forgets the layer at once and moves its directory to tmp/; the path to delete is returned.
  Result<std::string> detach(const std::string& key);

 private:
  struct Layer {
    std::string diff_id;
    bool self_contained = true;
    int64_t size = 0;
    bool is_recorded = false;
  };
  std::string directory_, tmp_;
  db::Database& database_;
  mutable std::mutex mutex_;
  std::map<std::string, Layer> layers_;  // by key
};

}  // namespace caisson::image
