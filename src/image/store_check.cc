// SPDX-License-Identifier: Apache-2.0
// The self-check: is what the images need there, has it the right size, and, when asked for every byte, the right
// content? Damaged blobs go, so that a pull or load brings them again; damaged layers are unpacked again.
#include <sys/stat.h>

#include <algorithm>

#include "base/ids.h"
#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "image/disk_image_store.h"
#include "image/layer_compare.h"
#include "image/layer_unpacker.h"
#include "sys/files.h"
#include "sys/nodes.h"
#include "wire/compress.h"
#include "wire/digest.h"

namespace caisson::image {

namespace {

std::vector<std::string> shown_names(const StoredImage& stored) {
  const Image& image = stored.image;
  if (!image.repo_tags.empty()) return image.repo_tags;
  return {image.repo_digests.empty() ? image.id : image.repo_digests.front()};
}

struct WantedBlob {
  int64_t size = -1;  // -1: not told
  std::vector<std::string> images;
};

std::map<std::string, WantedBlob> wanted_blobs(const ImageIndex& index) {
  std::map<std::string, WantedBlob> out;
  for (const auto& [id, stored] : index.images) {
    auto want = [&](const std::string& digest, int64_t size) {
      WantedBlob& wanted = out[digest];
      if (size >= 0) wanted.size = size;
      for (auto& name : shown_names(*stored)) wanted.images.push_back(name);
    };
    want(stored->image.manifest_digest, static_cast<int64_t>(stored->manifest_json.size()));
    want(id, static_cast<int64_t>(stored->image.config_json.size()));
    auto manifest = json::decode<spec::Manifest>(stored->manifest_json);
    if (!manifest) continue;
    for (const auto& layer : manifest->layers) want(layer.digest, layer.size);
  }
  return out;
}

Result<std::string> content_digest(const BlobStore& blobs, const std::string& digest) {
  auto fd = TRY(blobs.open_blob(digest));
  sys::FdSource file(fd.get());
  digest::HashingSource hashing(file);
  std::vector<char> buffer(256 << 10);
  while (TRY(hashing.read(buffer)) > 0) {
  }
  return hashing.finish();
}

void log_problems(const StoreCheck& check) {
  for (const auto& problem : check.problems)
    log_warn("%s: %s (of %s): %s", problem.object.c_str(), problem.problem.c_str(), join(problem.images, ", ").c_str(),
             problem.action.c_str());
}

}  // namespace

// "" when the blob is what it should be.
std::string DiskImageStore::blob_problem(const std::string& digest, int64_t wanted_size, bool deep) const {
  auto size = blobs_.size(digest);
  if (!size) return size.error().kind == ErrorKind::kNotFound ? "missing" : size.error().message;
  if (wanted_size >= 0 && *size != wanted_size)
    return format("has %lld bytes instead of %lld", static_cast<long long>(*size), static_cast<long long>(wanted_size));
  if (!deep) return "";
  auto found = content_digest(blobs_, digest);
  if (!found) return found.error().message;
  return *found == digest ? "" : "other content: its digest is " + *found;
}

// The two documents of an image stand in the database as well.
Result<bool> DiskImageStore::restore_document(const std::string& digest) {
  for (auto index = snapshot(); const auto& [id, stored] : index->images) {
    const std::string* text = id == digest                              ? &stored->image.config_json
                              : stored->image.manifest_digest == digest ? &stored->manifest_json
                                                                        : nullptr;
    if (!text || digest::sha256(*text) != digest) continue;
    auto blob = TRY(blobs_.spool(*text));
    TRY(blobs_.publish(blob));
    ++published_;
    TRY(flush());
    return true;
  }
  return false;
}

void DiskImageStore::check_blobs(StoreCheck& out) {
  auto index = snapshot();
  for (auto& [digest, wanted] : wanted_blobs(*index)) {
    ++out.blobs;
    std::string problem = blob_problem(digest, wanted.size, out.is_deep);
    if (problem.empty()) continue;
    StoreProblem entry{.object = "blob " + digest, .problem = problem, .images = std::move(wanted.images)};
    auto restored = restore_document(digest);
    if (restored && *restored) {
      entry.is_repaired = true;
      entry.action = "written again";
    } else {
      // Never sent to anybody, and fetched again by the next pull.
      if (auto removed = blobs_.remove(digest); !removed) log_warn("%s, ignoring", removed.error().message.c_str());
      entry.action = "containers run without it; pull or load the image again before it is pushed or saved";
    }
    out.problems.push_back(std::move(entry));
  }
}

Result<std::string> DiskImageStore::unpack_again(const StoredImage& stored, size_t number, const std::string& target) {
  auto blob = TRY(blobs_.open_blob(stored.image.layer_digests[number]));
  sys::FdSource file(blob.get());
  auto plain = TRY(compress::Decompressor::open(file));
  digest::HashingSource hashing(*plain);
  TRY(sys::make_dirs(target));
  auto directory = TRY(sys::open_file(target, O_RDONLY | O_DIRECTORY));
  std::vector<std::string> parents;
  for (size_t i = 0; i < number; ++i) parents.push_back(layers_.directory(stored.layer_keys[i]));
  TRY(unpack_layer(hashing, directory.get(), parents));
  const std::string& diff_id = stored.image.config.rootfs.diff_ids[number];
  if (hashing.finish() != diff_id) return fail(ErrorKind::kCorrupt, "its blob is not what the layer was made from");
  return diff_id;
}

// Compares a layer with what its blob unpacks to. The other directory takes its place if they differ and no
// container stands on it.
bool DiskImageStore::is_under_container(const std::string& key, const FindUsers& find_users) const {
  auto index = snapshot();
  for (const auto* images : {&index->images, &index->kept})
    for (const auto& [id, stored] : *images)
      if (std::find(stored->layer_keys.begin(), stored->layer_keys.end(), key) != stored->layer_keys.end() &&
          !find_users(id).running.empty())
        return true;
  return false;
}

void DiskImageStore::check_layer(const StoredImage& stored, size_t number, const FindUsers& find_users,
                                 StoreCheck& out) {
  const std::string& key = stored.layer_keys[number];
  std::string temporary = tmp_ + "/image-check-" + random_hex(16);
  Rollback cleanup;
  cleanup.add([&] {
    if (auto done = sys::remove_tree(temporary); !done) log_warn("%s, ignoring", done.error().message.c_str());
  });
  auto compare = [&]() -> Result<std::string> {
    TRY(unpack_again(stored, number, temporary));
    auto found = TRY(sys::open_file(layers_.directory(key), O_RDONLY | O_DIRECTORY));
    auto wanted = TRY(sys::open_file(temporary, O_RDONLY | O_DIRECTORY));
    return first_difference(found.get(), wanted.get());
  };
  auto difference = compare();
  // Without its blob a layer cannot be judged; that the blob is damaged has been told.
  if (!difference) return log_info("layer '%s' cannot be checked: %s", key.c_str(), difference.error().message.c_str());
  if (difference->empty()) return;
  StoreProblem entry{.object = "layer " + key, .problem = *difference, .images = shown_names(stored)};
  auto in_use = [] { return fail(ErrorKind::kConflict, "containers stand on it; check again when they do not run"); };
  auto exchange = [&]() -> Result<> {
    if (renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, layers_.directory(key).c_str(), RENAME_EXCHANGE) < 0)
      return fail_errno("rename to '%s'", layers_.directory(key).c_str());
    return {};
  };
  auto replace = [&]() -> Result<> {
    auto root = TRY(sys::open_file(root_, O_RDONLY | O_DIRECTORY));
    TRY(sys::sync_file_system(root.get()));
    if (is_under_container(key, find_users)) return in_use();
    {
      std::lock_guard change_lock(change_mutex_);
      std::lock_guard lock(leases_->mutex);
      if (leases_->chains.contains(key)) return in_use();
      TRY(exchange());
    }
    // One that was started just before the exchange stands on the old one, which has to stay then.
    if (!is_under_container(key, find_users)) return {};
    TRY(exchange());
    return in_use();
  };
  auto replaced = replace();
  entry.is_repaired = replaced.has_value();
  entry.action = replaced ? "unpacked again from its blob" : replaced.error().message;
  out.problems.push_back(std::move(entry));
}

StoreCheck DiskImageStore::check(bool deep, const FindUsers& find_users) {
  StoreCheck out;
  out.is_deep = deep;
  auto held = lease();  // nothing goes while it is looked at
  auto index = snapshot();
  out.images = static_cast<int64_t>(index->images.size());
  out.layers = static_cast<int64_t>(layers_.keys().size());
  check_blobs(out);
  std::set<std::string> seen;
  for (const auto& [id, stored] : index->images) {
    for (size_t i = 0; i < stored->layer_keys.size(); ++i) {
      const std::string& key = stored->layer_keys[i];
      if (!seen.insert(key).second) continue;
      if (!sys::path_exists(layers_.directory(key)))
        out.problems.push_back({"layer " + key, "its directory is missing", shown_names(*stored), false,
                                "restart the engine, which unpacks it again from its blob"});
      else if (deep)
        check_layer(*stored, i, find_users, out);
    }
  }
  out.orphans_removed = remove_strays();
  log_problems(out);
  return out;
}

// Layers without their directories and directories without a layer have been seen to by now.
void DiskImageStore::check_at_start() {
  StoreCheck out;
  check_blobs(out);
  log_problems(out);
}

// Layer directories that no row knows. Blobs without an image are collect()'s.
int64_t DiskImageStore::remove_strays() {
  int64_t removed = 0;
  auto names = sys::list_dir(root_ + "/layers");
  if (!names) return 0;
  // Asked after the directory: what came in between has its place here, too.
  std::set<std::string> known;
  for (const auto& key : layers_.keys()) known.insert(std::string(digest::hex_of(key)));
  for (const auto& name : *names) {
    if (known.contains(name)) continue;
    std::string doomed = tmp_ + "/image-stray-" + random_hex(16);
    if (rename((root_ + "/layers/" + name).c_str(), doomed.c_str()) < 0) continue;  // removed this moment
    log_info("removing 'layers/%s', which no image uses", name.c_str());
    if (auto done = sys::remove_tree(doomed); !done) log_warn("%s, ignoring", done.error().message.c_str());
    ++removed;
  }
  return removed;
}

// At the start: layers whose directory has gone are unpacked again where their blobs are.
Result<> DiskImageStore::rebuild_layers(const StoredImage& stored) {
  const auto& diff_ids = stored.image.config.rootfs.diff_ids;
  std::vector<std::string> stack, made;
  for (size_t i = 0; i < diff_ids.size(); ++i) {
    std::vector<std::string> parents = stack;
    stack.push_back(diff_ids[i]);
    if (layers_.find(stack)) continue;
    auto blob = TRY(blobs_.open_blob(stored.image.layer_digests[i]));
    sys::FdSource file(blob.get());
    auto plain = TRY(compress::Decompressor::open(file));
    made.push_back(TRY(layers_.add(diff_ids[i], parents, *plain)));
    ++published_;
    log_info("layer '%s' is unpacked again from its blob", diff_ids[i].c_str());
  }
  if (made.empty()) return {};
  TRY(flush());
  TRY(database_.transaction([&]() -> Result<> { return layers_.record(made); }));
  layers_.mark_recorded(made);
  return {};
}

}  // namespace caisson::image
