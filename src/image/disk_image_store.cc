// SPDX-License-Identifier: Apache-2.0
#include "image/disk_image_store.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "spec/reference.h"
#include "sys/files.h"
#include "sys/nodes.h"
#include "wire/compress.h"
#include "wire/digest.h"

namespace caisson::image {

namespace {
constexpr size_t kMaxManifest = 4 << 20, kMaxConfig = 8 << 20;

const std::vector<std::string> kSchema = {
    "CREATE TABLE images(id TEXT PRIMARY KEY, manifest_digest TEXT NOT NULL, manifest TEXT NOT NULL,"
    " config TEXT NOT NULL, last_tagged_ns INTEGER NOT NULL);"
    "CREATE TABLE image_names(name TEXT PRIMARY KEY, image_id TEXT NOT NULL);"
    "CREATE TABLE layers(key TEXT PRIMARY KEY, diff_id TEXT NOT NULL, self_contained INTEGER NOT NULL, size INTEGER "
    "NOT NULL)",
    "ALTER TABLE images ADD COLUMN parent TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE images ADD COLUMN is_kept INTEGER NOT NULL DEFAULT 0"};

// Image and bookkeeping from the two documents, everything about them checked.
Result<std::shared_ptr<StoredImage>> make_image(std::string manifest_digest, std::string manifest_json,
                                                std::string config_json) {
  auto out = std::make_shared<StoredImage>();
  auto manifest = json::decode<spec::Manifest>(manifest_json);
  if (!manifest) return fail(ErrorKind::kInvalid, "image manifest: %s", manifest.error().message.c_str());
  auto config = json::decode<spec::ImageConfig>(config_json);
  if (!config) return fail(ErrorKind::kInvalid, "image config: %s", config.error().message.c_str());
  TRY(spec::check_config(*config));
  if (manifest->layers.size() != config->rootfs.diff_ids.size())
    return fail(ErrorKind::kInvalid, "image: the manifest has %zu layers and the config %zu", manifest->layers.size(),
                config->rootfs.diff_ids.size());
  Image& image = out->image;
  image.id = manifest->config.digest;
  image.created_ns = parse_rfc3339(config->created).value_or(0);
  image.config = std::move(*config);
  image.config_json = std::move(config_json);
  image.manifest_digest = manifest_digest;
  image.manifest_type = manifest->media_type.empty() ? std::string(spec::kOciManifest) : manifest->media_type;
  image.manifest_size = static_cast<int64_t>(manifest_json.size());
  out->blobs = {std::move(manifest_digest), image.id};
  for (const spec::Descriptor& layer : manifest->layers) {
    if (!digest::is_valid(layer.digest))
      return fail(ErrorKind::kInvalid, "image manifest: %s is no digest", quoted(layer.digest).c_str());
    image.layer_digests.push_back(layer.digest);
    out->blobs.push_back(layer.digest);
  }
  out->manifest_json = std::move(manifest_json);
  return out;
}

void remove_leftovers(const std::string& tmp) {
  auto names = sys::list_dir(tmp);
  if (!names) return;
  for (const std::string& name : *names) {
    if (!name.starts_with("image-")) continue;  // others keep their own order in tmp/
    log_info("removing 'tmp/%s': left over from an interrupted operation", name.c_str());
    if (auto done = sys::remove_tree(tmp + "/" + name); !done) log_warn("%s, ignoring", done.error().message.c_str());
  }
}
}  // namespace

Result<std::unique_ptr<ImageStore>> ImageStore::open(const std::string& root, db::Database& database, bool vfs) {
  TRY(sys::make_dirs(root + "/tmp", 0700));
  auto blobs = TRY(BlobStore::open(root, root + "/tmp"));
  auto store = std::make_unique<DiskImageStore>(root, database, std::move(blobs));
  if (vfs) store->use_vfs();
  TRY_CTX(store->open(), "image store");
  return std::unique_ptr<ImageStore>(std::move(store));
}

DiskImageStore::DiskImageStore(std::string root, db::Database& database, BlobStore blobs)
    : root_(std::move(root)),
      tmp_(root_ + "/tmp"),
      database_(database),
      blobs_(std::move(blobs)),
      layers_(root_, tmp_, database),
      partial_(root_ + "/images/partial"),
      leases_(std::make_shared<Leases>()),
      snapshot_(std::make_shared<ImageIndex>()) {
  leases_->store = this;
}

DiskImageStore::~DiskImageStore() {
  std::lock_guard lock(leases_->mutex);
  leases_->store = nullptr;
}

Result<> DiskImageStore::open() {
  remove_leftovers(tmp_);
  TRY(sys::make_dirs(root_ + "/empty-layer"));
  TRY(database_.migrate("images", kSchema));
  if (auto names = sys::list_dir(root_ + "/vfs"))
    for (const auto& name : *names)
      if (name.starts_with("making-")) TRY(sys::remove_tree(root_ + "/vfs/" + name));
  TRY(open_holds());
  TRY(open_uses());
  TRY(layers_.open());
  TRY(partial_.open({}, now_ns() / 1'000'000'000));

  ImageIndex index;
  std::set<std::string> ids;
  std::vector<std::string> broken;
  TRY(database_.query("SELECT id, manifest_digest, manifest, config, last_tagged_ns, parent, is_kept FROM images", {},
                      [&](const db::Row& row) {
                        auto image = make_image(row.text(1), row.text(2), row.text(3));
                        if (image && !row.integer(6))
                          if (auto rebuilt = rebuild_layers(**image); !rebuilt)
                            log_warn("%s", rebuilt.error().message.c_str());
                        auto keys = image ? layers_.find_all((*image)->image.config.rootfs.diff_ids)
                                          : Result<std::vector<std::string>>(std::unexpected(image.error()));
                        if (!keys) {
                          log_warn("image '%s' cannot be used, forgotten: %s", row.text(0).c_str(),
                                   keys.error().message.c_str());
                          broken.push_back(row.text(0));
                          return;
                        }
                        (*image)->layer_keys = std::move(*keys);
                        for (const std::string& key : (*image)->layer_keys) (*image)->image.size += layers_.size(key);
                        (*image)->image.last_tagged_ns = row.integer(4);
                        (*image)->image.parent = row.text(5);
                        if (row.integer(6)) {
                          index.kept[row.text(0)] = std::move(*image);
                          return;
                        }
                        ids.insert(row.text(0));
                        index.images[row.text(0)] = std::move(*image);
                      }));
  for (const std::string& id : broken) {
    TRY(database_.execute("DELETE FROM images WHERE id=?1", {id}));
    TRY(database_.execute("DELETE FROM image_names WHERE image_id=?1", {id}));
  }
  TRY(database_.query("SELECT name, image_id FROM image_names", {}, [&](const db::Row& row) {
    if (index.images.contains(row.text(1))) index.names[row.text(0)] = row.text(1);
  }));
  index.refresh(ids);
  TRY(blobs_.write_index(index.to_oci_index()));
  snapshot_ = std::make_shared<ImageIndex>(std::move(index));
  check_at_start();
  collect();
  return {};
}

std::shared_ptr<const ImageIndex> DiskImageStore::snapshot() const {
  std::lock_guard lock(snapshot_mutex_);
  return snapshot_;
}

Result<> DiskImageStore::apply(ImageIndex next, const std::set<std::string>& changed_ids) {
  auto before = snapshot();
  next.refresh(changed_ids);
  std::vector<std::string> new_layers;
  for (const std::string& id : changed_ids)
    if (auto found = next.images.find(id); found != next.images.end() && !before->images.contains(id))
      new_layers = found->second->layer_keys;
  auto write = [&]() -> Result<> {
    for (const std::string& id : changed_ids) {
      auto found = next.images.find(id);
      bool is_kept = found == next.images.end();
      if (is_kept) found = next.kept.find(id);
      if (is_kept && found == next.kept.end()) {
        TRY(database_.execute("DELETE FROM images WHERE id=?1", {id}));
        continue;
      }
      const StoredImage& stored = *found->second;
      TRY(database_.execute(
          "INSERT INTO images(id, manifest_digest, manifest, config, last_tagged_ns, parent, is_kept)"
          " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(id) DO UPDATE SET manifest_digest=?2, manifest=?3,"
          " config=?4, last_tagged_ns=?5, parent=?6, is_kept=?7",
          {id, stored.image.manifest_digest, stored.manifest_json, stored.image.config_json,
           stored.image.last_tagged_ns, stored.image.parent, int64_t{is_kept}}));
    }
    for (const auto& [name, id] : before->names)
      if (!next.names.contains(name)) TRY(database_.execute("DELETE FROM image_names WHERE name=?1", {name}));
    for (const auto& [name, id] : next.names) {
      auto old = before->names.find(name);
      if (old != before->names.end() && old->second == id) continue;
      TRY(database_.execute("INSERT OR REPLACE INTO image_names(name, image_id) VALUES(?1, ?2)", {name, id}));
    }
    for (const std::string& id : changed_ids)
      if (auto found = next.images.find(id); found != next.images.end() && !before->images.contains(id))
        for (const std::string& digest : found->second->blobs) TRY(release_blob(digest, std::string(kPullHolder)));
    return layers_.record(new_layers);
  };
  TRY(database_.transaction(write));
  layers_.mark_recorded(new_layers);
  if (auto done = blobs_.write_index(next.to_oci_index()); !done)
    log_warn("index.json: %s, ignoring", done.error().message.c_str());
  auto made = std::make_shared<ImageIndex>(std::move(next));
  std::lock_guard lock(snapshot_mutex_);
  snapshot_ = std::move(made);
  return {};
}

Result<Image> DiskImageStore::find(const std::string& reference) {
  return TRY(snapshot()->find(reference)).image->image;
}

std::vector<Image> DiskImageStore::list() {
  std::vector<Image> out;
  for (auto index = snapshot(); const auto& [id, stored] : index->images) out.push_back(stored->image);
  return out;
}

Result<> DiskImageStore::tag(const std::string& source, const std::string& repo, const std::string& tag) {
  auto target = TRY(spec::parse_reference(repo));
  if (!target.digest.empty()) return fail(ErrorKind::kInvalid, "refusing to create a tag with a digest reference");
  if (!tag.empty()) {
    if (!spec::is_valid_tag(tag)) return fail(ErrorKind::kInvalid, "invalid tag format");
    target.tag = tag;
  }
  if (target.tag.empty()) target.tag = "latest";

  std::lock_guard lock(change_mutex_);
  auto before = snapshot();
  std::string id = TRY(before->find(source)).image->image.id;
  ImageIndex next = *before;
  std::set<std::string> changed = {id};
  auto& owner = next.names[target.full()];
  if (!owner.empty()) changed.insert(owner);
  owner = id;
  auto touched = std::make_shared<StoredImage>(*next.images[id]);
  touched->image.last_tagged_ns = now_ns();
  next.images[id] = std::move(touched);
  return apply(std::move(next), changed);
}

Result<std::vector<HistoryEntry>> DiskImageStore::history(const std::string& reference) {
  auto stored = TRY(snapshot()->find(reference)).image;
  std::vector<HistoryEntry> out;
  size_t layer = 0;
  for (const spec::ImageHistory& step : stored->image.config.history) {
    HistoryEntry entry;
    entry.id = "<missing>";
    entry.created_s = parse_rfc3339(step.created).value_or(0) / 1'000'000'000;
    entry.created_by = step.created_by;
    entry.comment = step.comment;
    if (!step.empty_layer && layer < stored->layer_keys.size()) entry.size = layers_.size(stored->layer_keys[layer++]);
    out.insert(out.begin(), std::move(entry));
  }
  if (!out.empty()) {
    out.front().id = stored->image.id;
    out.front().tags = stored->image.repo_tags;
  }
  return out;
}

Usage DiskImageStore::usage() {
  auto index = snapshot();
  Usage out;
  struct Shared {
    int users = 0;
    int64_t size = 0;
  };
  std::map<std::string, Shared> layers, blobs;
  // What an image names twice is there once.
  auto each = [](const std::vector<std::string>& names) { return std::set<std::string>(names.begin(), names.end()); };
  for (const auto& [id, stored] : index->images) {
    for (const std::string& key : each(stored->layer_keys)) ++layers[key].users;
    for (const std::string& digest : each(stored->blobs)) ++blobs[digest].users;
  }
  for (const auto& [id, stored] : index->kept)
    for (const std::string& key : each(stored->layer_keys)) ++layers[key].users;
  for (auto& [key, layer] : layers) out.layers_size += layer.size = layers_.size(key);
  // A blob that an image names need not be here: it is what its registry calls the layer.
  for (auto& [digest, blob] : blobs) out.blobs_size += blob.size = blobs_.size(digest).value_or(0);
  for (const auto& [id, stored] : index->images) {
    Usage::PerImage entry{.id = id, .size = stored->image.size};
    for (const std::string& key : each(stored->layer_keys)) {
      if (layers[key].users > 1) entry.shared_size += layers[key].size;
      entry.parts.emplace_back("layer " + key, layers[key].size);
    }
    for (const std::string& digest : each(stored->blobs)) {
      entry.blobs_size += blobs[digest].size;
      if (blobs[digest].users > 1) entry.shared_blobs_size += blobs[digest].size;
      entry.parts.emplace_back("blob " + digest, blobs[digest].size);
    }
    out.images.push_back(std::move(entry));
  }
  return out;
}

bool DiskImageStore::has_blob(const std::string& digest) {
  protect_blob(digest);
  return blobs_.has(digest);
}

bool DiskImageStore::has_layer(const std::string& diff_id) {
  protect_layer(diff_id);
  return layers_.has_self_contained(diff_id);
}

bool DiskImageStore::keep_layer(const std::vector<std::string>& diff_ids) {
  // Before it is looked for: a collection in between must not take it.
  protect_layer(diff_ids.back());
  protect_layer(spec::chain_id(diff_ids, diff_ids.size()));
  return layers_.find(diff_ids).has_value();
}

Result<UniqueFd> DiskImageStore::open_blob(const std::string& digest) { return blobs_.open_blob(digest); }

Result<> DiskImageStore::add_blob(const std::string& digest, ByteSource& bytes) {
  if (!digest::is_valid(digest)) return fail(ErrorKind::kInvalid, "%s is no digest", quoted(digest).c_str());
  auto blob = TRY(blobs_.spool(bytes));
  if (blob.digest() != digest)
    return fail(ErrorKind::kCorrupt, "blob '%s' has the wrong content: its digest is '%s'", digest.c_str(),
                blob.digest().c_str());
  return publish(blob);
}

Result<std::unique_ptr<BlobIntake>> DiskImageStore::begin_blob(const std::string& digest, int64_t max_size) {
  return partial_.begin(digest, max_size, [this, digest](const std::string& path) -> Result<> {
    TRY(adopt_blob(digest, path));
    // Without a hold the next start would take it for garbage.
    if (auto held = hold_blobs({digest}, std::string(kPullHolder), Hold::kUntilReboot); !held)
      log_warn("holding the blob of a pull: %s, ignoring", held.error().message.c_str());
    return {};
  });
}

int64_t DiskImageStore::drop_partial_blobs() { return partial_.drop(nullptr, 0); }

Result<> DiskImageStore::publish(SpooledBlob& blob) {
  protect_blob(blob.digest());
  if (blobs_.has(blob.digest())) return {};
  TRY(blobs_.publish(blob));
  ++published_;
  return {};
}

Result<> DiskImageStore::flush() {
  uint64_t published = published_;
  if (published == flushed_) return {};
  auto root = TRY(sys::open_file(root_, O_RDONLY | O_DIRECTORY));
  TRY(sys::sync_file_system(root.get()));
  flushed_ = published;
  return {};
}

Result<> DiskImageStore::add_layer(const std::string& diff_id, const std::vector<std::string>& parents,
                                   ByteSource& tar) {
  return add_layer(diff_id, parents, tar, false);
}

Result<> DiskImageStore::add_layer(const std::string& diff_id, const std::vector<std::string>& parents, ByteSource& tar,
                                   bool verified) {
  // Both names it may get, before it exists: a collection in between must not take it.
  std::vector<std::string> stack = parents;
  stack.push_back(diff_id);
  protect_layer(diff_id);
  protect_layer(spec::chain_id(stack, stack.size()));
  TRY(layers_.add(diff_id, parents, tar, verified));
  ++published_;
  return {};
}

Result<ImageStore::MadeLayer> DiskImageStore::make_layer(const std::vector<std::string>& parents, ByteSource& tar) {
  digest::HashingSource counted(tar);
  compress::GzipSource packed(counted);
  auto blob = TRY(blobs_.spool(packed));
  MadeLayer out{counted.finish(),
                {.media_type = std::string(spec::kOciLayerGzip),
                 .digest = blob.digest(),
                 .size = static_cast<int64_t>(blob.size())}};
  auto file = TRY(blob.open());
  sys::FdSource bytes(file.get());
  auto plain = TRY(compress::Decompressor::open(bytes));
  TRY(add_layer(out.diff_id, parents, *plain, true));
  TRY(publish(blob));
  return out;
}

Result<std::shared_ptr<StoredImage>> DiskImageStore::read_image(const std::string& manifest_digest) const {
  std::string manifest_json = TRY(blobs_.read(manifest_digest, kMaxManifest));
  auto manifest = json::decode<spec::Manifest>(manifest_json);
  if (!manifest) return fail(ErrorKind::kInvalid, "image manifest: %s", manifest.error().message.c_str());
  if (!digest::is_valid(manifest->config.digest)) return fail(ErrorKind::kInvalid, "image manifest: it has no config");
  std::string config_json = TRY(blobs_.read(manifest->config.digest, kMaxConfig));
  auto stored = TRY(make_image(manifest_digest, std::move(manifest_json), std::move(config_json)));
  stored->layer_keys = TRY(layers_.find_all(stored->image.config.rootfs.diff_ids));
  for (const std::string& key : stored->layer_keys) stored->image.size += layers_.size(key);
  return stored;
}

Result<std::string> DiskImageStore::commit_image(const std::string& manifest_digest, const std::string& repo_tag,
                                                 const std::string& repo_digest, const std::string& parent) {
  std::vector<std::string> new_names;
  if (!repo_tag.empty()) {
    auto reference = TRY(spec::parse_reference_with_default_tag(repo_tag));
    reference.digest.clear();
    if (!reference.tag.empty()) new_names.push_back(reference.full());
  }
  if (!repo_digest.empty()) {
    auto reference = TRY(spec::parse_reference(repo_digest));
    reference.tag.clear();
    if (reference.digest.empty()) return fail(ErrorKind::kInvalid, "%s has no digest", quoted(repo_digest).c_str());
    new_names.push_back(reference.full());
  }
  // Before the lock: a flush may take seconds, and starting containers must not wait for it.
  TRY(flush());
  std::lock_guard lock(change_mutex_);
  auto stored = TRY(read_image(manifest_digest));
  std::string id = stored->image.id;
  stored->image.last_tagged_ns = now_ns();
  stored->image.parent = parent;
  ImageIndex next = *snapshot();
  next.kept.erase(id);
  std::set<std::string> changed = {id};
  // The manifest of a registry is worth more than a made-up one: with it a push sends the same blobs again.
  auto known = next.images.find(id);
  if (known != next.images.end() && parent.empty()) stored->image.parent = known->second->image.parent;
  if (known == next.images.end() || !repo_digest.empty()) next.images[id] = std::move(stored);
  for (const std::string& name : new_names) {
    auto& owner = next.names[name];
    if (!owner.empty()) changed.insert(owner);
    owner = id;
  }
  TRY(apply(std::move(next), changed));
  return id;
}

Result<> DiskImageStore::add_repo_digest(const std::string& image_id, const std::string& repo_digest) {
  auto reference = TRY(spec::parse_reference(repo_digest));
  reference.tag.clear();
  if (reference.digest.empty()) return fail(ErrorKind::kInvalid, "%s has no digest", quoted(repo_digest).c_str());
  std::lock_guard lock(change_mutex_);
  auto before = snapshot();
  if (!before->images.contains(image_id)) return fail(ErrorKind::kNotFound, "No such image: %s", image_id.c_str());
  ImageIndex next = *before;
  std::set<std::string> changed = {image_id};
  auto& owner = next.names[reference.full()];
  if (owner == image_id) return {};
  if (!owner.empty()) changed.insert(owner);
  owner = image_id;
  return apply(std::move(next), changed);
}

}  // namespace caisson::image
