// SPDX-License-Identifier: Apache-2.0
// When each image was last used. Kept in memory and written now and then in one transaction: a crash loses the
// last minute of it at most, and a start of a container costs nothing.
#include "base/clock.h"
#include "base/log.h"
#include "image/disk_image_store.h"

namespace caisson::image {

Result<> DiskImageStore::open_uses() {
  static const std::vector<std::string> kSchema = {
      "CREATE TABLE image_uses(image_id TEXT PRIMARY KEY, used_ns INTEGER NOT NULL)"};
  TRY(database_.migrate("image-uses", kSchema));
  return database_.query("SELECT image_id, used_ns FROM image_uses", {}, [&](const db::Row& row) {
    uses_[row.text(0)] = {row.integer(1), true};
  });
}

void DiskImageStore::note_use(const std::string& image_id) {
  std::lock_guard lock(uses_mutex_);
  uses_[image_id] = {now_ns(), false};
}

int64_t DiskImageStore::last_use(const Image& image) {
  std::lock_guard lock(uses_mutex_);
  auto found = uses_.find(image.id);
  return std::max(image.last_tagged_ns, found == uses_.end() ? 0 : found->second.at_ns);
}

Result<> DiskImageStore::write_uses() {
  std::map<std::string, int64_t> fresh;
  std::vector<std::string> gone;
  auto index = snapshot();
  {
    std::lock_guard lock(uses_mutex_);
    for (auto it = uses_.begin(); it != uses_.end();) {
      if (!index->images.contains(it->first)) {
        gone.push_back(it->first);
        it = uses_.erase(it);
        continue;
      }
      if (!it->second.is_written) fresh[it->first] = it->second.at_ns;
      it->second.is_written = true;
      ++it;
    }
  }
  if (fresh.empty() && gone.empty()) return {};
  return database_.transaction(
      [&]() -> Result<> {
        for (const auto& id : gone) TRY(database_.execute("DELETE FROM image_uses WHERE image_id=?1", {id}));
        for (const auto& [id, at_ns] : fresh)
          TRY(database_.execute("INSERT OR REPLACE INTO image_uses(image_id, used_ns) VALUES(?1, ?2)", {id, at_ns}));
        return {};
      },
      db::Durability::kRelaxed);
}

}  // namespace caisson::image
