// SPDX-License-Identifier: Apache-2.0
#include "image/layer_store.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <cstdio>

#include "base/ids.h"
#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "image/layer_unpacker.h"
#include "spec/oci_image.h"
#include "sys/files.h"
#include "sys/nodes.h"
#include "wire/digest.h"

namespace caisson::image {

LayerStore::LayerStore(std::string root, std::string tmp, db::Database& database)
    : directory_(std::move(root) + "/layers"), tmp_(std::move(tmp)), database_(database) {}

// chattr +T: ext4 then spreads the directories below over its block groups, which keeps creating many
// small files fast after big removals. Other file systems refuse; that costs speed only.
static void spread_subdirectories(const std::string& path) {
  auto fd = sys::open_file(path, O_RDONLY | O_DIRECTORY);
  if (!fd) return;
  int flags = 0;
  if (ioctl(fd->get(), FS_IOC_GETFLAGS, &flags) == 0 && !(flags & FS_TOPDIR_FL)) {
    flags |= FS_TOPDIR_FL;
    if (ioctl(fd->get(), FS_IOC_SETFLAGS, &flags) < 0)
      log_debug("chattr +T '%s': not possible, ignoring", path.c_str());
  }
}

Result<> LayerStore::open() {
  TRY(sys::make_dirs(directory_, 0700));
  spread_subdirectories(directory_);
  spread_subdirectories(tmp_);
  TRY(database_.query("SELECT key, diff_id, self_contained, size FROM layers", {}, [&](const db::Row& row) {
    layers_[row.text(0)] = {row.text(1), row.integer(2) != 0, row.integer(3), true};
  }));
  for (auto it = layers_.begin(); it != layers_.end();) {
    if (sys::path_exists(directory(it->first))) {
      ++it;
      continue;
    }
    log_warn("layer '%s' has lost its directory: forgotten", it->first.c_str());
    TRY(database_.execute("DELETE FROM layers WHERE key=?1", {it->first}));
    it = layers_.erase(it);
  }
  for (const std::string& name : TRY(sys::list_dir(directory_))) {
    if (layers_.contains("sha256:" + name)) continue;
    log_info("removing '%s': left over from an interrupted operation", name.c_str());
    TRY(sys::remove_tree(directory_ + "/" + name));
  }
  return {};
}

std::optional<std::string> LayerStore::find(const std::vector<std::string>& diff_ids) const {
  if (diff_ids.empty()) return std::nullopt;
  std::string chain = spec::chain_id(diff_ids, diff_ids.size());
  std::lock_guard lock(mutex_);
  if (auto found = layers_.find(chain); found != layers_.end() && found->second.diff_id == diff_ids.back())
    return chain;
  if (auto found = layers_.find(diff_ids.back()); found != layers_.end() && found->second.self_contained)
    return diff_ids.back();
  return std::nullopt;
}

Result<std::vector<std::string>> LayerStore::find_all(const std::vector<std::string>& diff_ids) const {
  std::vector<std::string> keys, stack;
  for (const std::string& diff_id : diff_ids) {
    stack.push_back(diff_id);
    auto key = find(stack);
    if (!key) return fail(ErrorKind::kNotFound, "no such layer: '%s'", diff_id.c_str());
    keys.push_back(std::move(*key));
  }
  return keys;
}

bool LayerStore::has_self_contained(const std::string& diff_id) const {
  std::lock_guard lock(mutex_);
  auto found = layers_.find(diff_id);
  return found != layers_.end() && found->second.self_contained;
}

Result<std::string> LayerStore::add(const std::string& diff_id, const std::vector<std::string>& parents,
                                    ByteSource& tar, bool already_verified) {
  if (!digest::is_valid(diff_id)) return fail(ErrorKind::kInvalid, "%s is no diff-id", quoted(diff_id).c_str());
  std::vector<std::string> stack = parents;
  stack.push_back(diff_id);
  if (auto key = find(stack)) return *key;

  // Layers of one pull come in any order. Most need nothing from below, so one whose parents are not here yet is
  // tried alone; what shows it to be incomplete that way is no fault of the archive.
  std::vector<std::string> parent_directories;
  auto parent_keys = find_all(parents);
  if (parent_keys)
    for (const std::string& key : *parent_keys) parent_directories.push_back(directory(key));
  auto too_early = [&] {
    return fail(ErrorKind::kConflict, "layer '%s' leans on layers that are not here yet", diff_id.c_str());
  };
  std::string temporary = tmp_ + "/image-layer-" + random_hex(16);
  Rollback rollback;
  TRY(sys::make_dirs(temporary));
  rollback.add([&] {
    if (auto done = sys::remove_tree(temporary); !done) log_warn("%s, ignoring", done.error().message.c_str());
  });
  auto fd = TRY(sys::open_file(temporary, O_RDONLY | O_DIRECTORY));

  digest::HashingSource hashing(tar);
  auto unpacking = unpack_layer(already_verified ? tar : hashing, fd.get(), parent_directories);
  if (!parent_keys && (unpacking ? !unpacking->self_contained : unpacking.error().kind == ErrorKind::kInvalid))
    return too_early();
  auto unpacked = TRY(std::move(unpacking));
  if (!already_verified)
    if (std::string got = hashing.finish(); got != diff_id)
      return fail(ErrorKind::kCorrupt, "layer '%s' has the wrong content: its digest is '%s'", diff_id.c_str(),
                  got.c_str());

  std::string key = unpacked.self_contained ? diff_id : spec::chain_id(stack, stack.size());
  std::lock_guard lock(mutex_);
  if (layers_.contains(key)) return key;  // another thread was faster; ours is dropped
  // Not flushed and without a row yet: after a crash open() takes it for a leftover. record() makes it last.
  if (rename(temporary.c_str(), directory(key).c_str()) < 0)
    return fail_errno("rename to '%s'", directory(key).c_str());
  rollback.commit();
  layers_[key] = {diff_id, unpacked.self_contained, unpacked.size, false};
  return key;
}

Result<> LayerStore::record(const std::vector<std::string>& keys) {
  std::lock_guard lock(mutex_);
  for (const std::string& key : keys) {
    auto found = layers_.find(key);
    if (found == layers_.end()) return fail(ErrorKind::kNotFound, "no such layer: '%s'", key.c_str());
    const Layer& layer = found->second;
    if (layer.is_recorded) continue;
    TRY(database_.execute("INSERT OR REPLACE INTO layers(key, diff_id, self_contained, size) VALUES(?1, ?2, ?3, ?4)",
                          {key, layer.diff_id, int64_t{layer.self_contained}, layer.size}));
  }
  return {};
}

void LayerStore::mark_recorded(const std::vector<std::string>& keys) {
  std::lock_guard lock(mutex_);
  for (const std::string& key : keys)
    if (auto found = layers_.find(key); found != layers_.end()) found->second.is_recorded = true;
}

std::string LayerStore::directory(const std::string& key) const {
  // Hex only: no ":" that overlay's option syntax would need escaped.
  return directory_ + "/" + std::string(digest::hex_of(key));
}

int64_t LayerStore::size(const std::string& key) const {
  std::lock_guard lock(mutex_);
  auto found = layers_.find(key);
  return found == layers_.end() ? 0 : found->second.size;
}

std::vector<std::string> LayerStore::keys() const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [key, layer] : layers_) out.push_back(key);
  return out;
}

Result<std::string> LayerStore::detach(const std::string& key) {
  std::lock_guard lock(mutex_);
  auto found = layers_.find(key);
  if (found == layers_.end()) return fail(ErrorKind::kNotFound, "no such layer: '%s'", key.c_str());
  if (found->second.is_recorded)
    TRY(database_.execute("DELETE FROM layers WHERE key=?1", {key}, db::Durability::kRelaxed));
  layers_.erase(found);
  std::string doomed = tmp_ + "/image-removed-" + random_hex(16);
  if (rename(directory(key).c_str(), doomed.c_str()) < 0 && errno != ENOENT)
    return fail_errno("rename '%s'", directory(key).c_str());
  return doomed;
}

}  // namespace caisson::image
