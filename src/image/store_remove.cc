// SPDX-License-Identifier: Apache-2.0
// remove(): Docker's rules for untagging and deleting, in the order in which Docker checks them,
// and what becomes of images that containers still stand on.
#include <algorithm>

#include "base/log.h"
#include "image/disk_image_store.h"
#include "spec/reference.h"

namespace caisson::image {
namespace {

std::string repository_of(const std::string& full_name) {
  auto reference = spec::parse_reference(full_name);
  return reference ? reference->name() : full_name;
}

std::string familiar_of(const std::string& full_name) {
  auto reference = spec::parse_reference(full_name);
  return reference ? reference->familiar() : full_name;
}

bool is_digest_name(const std::string& full_name) { return full_name.contains('@'); }

// At most one tag, and digests of its repository only.
bool is_single_reference(const std::vector<std::string>& names) {
  if (names.size() <= 1) return true;
  std::set<std::string> digest_repositories;
  std::string single;
  for (const std::string& name : names) {
    if (is_digest_name(name))
      digest_repositories.insert(repository_of(name));
    else if (single.empty())
      single = name;
    else
      return false;
  }
  if (single.empty()) single = names.front();
  return digest_repositories.size() == 1 && digest_repositories.contains(repository_of(single));
}

std::unexpected<Error> conflict(const std::string& id, bool is_hard, const std::string& why) {
  return fail(ErrorKind::kConflict, "conflict: unable to delete %s (%s) - %s", short_id(id).c_str(),
              is_hard ? "cannot be forced" : "must be forced", why.c_str());
}

// One removal on its way: the next index, and what there is to tell.
class Removal {
 public:
  Removal(ImageIndex index, std::map<std::string, ImageUsers> users)
      : next(std::move(index)), users_(std::move(users)) {}

  Result<> run(const ImageIndex::Found& found, const std::string& text, const RemoveOptions& options) {
    const std::string id = found.image->image.id;
    changed.insert(id);
    if (options.untag_only) {
      if (found.name.empty())
        return fail(ErrorKind::kInvalid, "'%s' is no name of image %s", text.c_str(), short_id(id).c_str());
      untag_with_digests(found.name, id);
      return {};
    }
    bool lost_its_name = false;
    if (!found.name.empty() && !is_id_prefix(id, text)) {
      if (!options.force && is_single_reference(next.names_of(id)) && !user_of(id).empty())
        return fail(ErrorKind::kConflict,
                    "conflict: unable to remove repository reference \"%s\" (must force) - container %s is using its "
                    "referenced image %s",
                    text.c_str(), short_id(user_of(id)).c_str(), short_id(id).c_str());
      untag_with_digests(found.name, id);
      if (!next.names_of(id).empty()) return {};
      lost_its_name = true;
    } else if (is_single_reference(next.names_of(id))) {
      TRY(check(id, {.stopped = !options.force}));
      for (const std::string& name : next.names_of(id)) untag(name);
    }
    return erase(id, options.force, options.prune_parents, lost_its_name);
  }

  ImageIndex next;
  std::vector<RemovedImage> told;
  std::set<std::string> changed;
  std::vector<std::shared_ptr<const StoredImage>> erased;

 private:
  struct SoftConflicts {
    bool reference = false, stopped = false;
  };

  std::string user_of(const std::string& id) const {
    auto found = users_.find(id);
    if (found == users_.end()) return "";
    return found->second.running.empty() ? found->second.stopped : found->second.running;
  }
  std::string running_user_of(const std::string& id) const {
    auto found = users_.find(id);
    return found == users_.end() ? "" : found->second.running;
  }

  void untag(const std::string& name) {
    next.names.erase(name);
    told.push_back({.untagged = familiar_of(name)});
  }

  // With its last tag a repository's digest names go, too.
  void untag_with_digests(const std::string& name, const std::string& id) {
    untag(name);
    if (is_digest_name(name)) return;
    std::string repository = repository_of(name);
    std::vector<std::string> digests;
    for (const std::string& other : next.names_of(id)) {
      if (repository_of(other) != repository) continue;
      if (!is_digest_name(other)) return;
      digests.push_back(other);
    }
    for (const std::string& digest : digests) untag(digest);
  }

  Result<> check(const std::string& id, SoftConflicts soft) const {
    if (next.has_children(id)) return conflict(id, true, "image has dependent child images");
    if (auto user = running_user_of(id); !user.empty())
      return conflict(id, true, "image is being used by running container " + short_id(user));
    if (soft.reference && !next.names_of(id).empty())
      return conflict(id, false, "image is referenced in multiple repositories");
    if (auto user = user_of(id); soft.stopped && !user.empty())
      return conflict(id, false, "image is being used by stopped container " + short_id(user));
    return {};
  }

  Result<> erase(const std::string& id, bool force, bool prune_parents, bool quiet) {
    if (auto checked = check(id, {.reference = !force, .stopped = !force}); !checked) {
      // DOCKER-QUIRK: whoever took an image's last name is not told why the image itself stays.
      return quiet ? Result<>() : checked;
    }
    auto stored = next.images.at(id);
    for (const std::string& name : next.names_of(id)) untag(name);
    next.images.erase(id);
    if (!user_of(id).empty()) next.kept[id] = stored;
    changed.insert(id);
    erased.push_back(stored);
    told.push_back({.deleted = id});
    const std::string& parent = stored->image.parent;
    if (!prune_parents || !next.images.contains(parent)) return {};
    return erase(parent, false, true, true);
  }

  std::map<std::string, ImageUsers> users_;
};

}  // namespace

Result<std::vector<RemovedImage>> DiskImageStore::remove(const std::string& text, const RemoveOptions& options,
                                                         const FindUsers& find_users) {
  std::vector<RemovedImage> out;
  std::vector<std::shared_ptr<const StoredImage>> erased;
  {
    // Asked before the lock, as it looks into the containers, which may be waiting for layers() just now.
    std::map<std::string, ImageUsers> users;
    std::unique_lock lock(change_mutex_, std::defer_lock);
    while (true) {
      auto index = snapshot();
      std::string asked = TRY(index->find(text)).image->image.id;
      for (std::string id = asked; find_users && index->images.contains(id) && !users.contains(id);
           id = index->images.at(id)->image.parent)
        users[id] = find_users(id);
      lock.lock();
      auto again = snapshot()->find(text);
      if (again && again->image->image.id == asked) break;
      lock.unlock();  // the name moved meanwhile
    }
    Removal removal(*snapshot(), std::move(users));
    TRY(removal.run(TRY(removal.next.find(text)), text, options));
    TRY(apply(std::move(removal.next), removal.changed));
    out = std::move(removal.told);
    erased = std::move(removal.erased);
  }
  if (erased.empty()) return out;
  std::vector<std::string> removed;
  collect(&removed);
  // Docker lists the layers that went behind their image, by chain-id, topmost first.
  std::vector<RemovedImage> with_layers;
  for (RemovedImage& entry : out) {
    with_layers.push_back(entry);
    auto image =
        std::find_if(erased.begin(), erased.end(), [&](const auto& one) { return one->image.id == entry.deleted; });
    if (image == erased.end()) continue;
    const auto& keys = (*image)->layer_keys;
    for (size_t count = keys.size(); count > 0; --count) {
      auto gone = std::find(removed.begin(), removed.end(), keys[count - 1]);
      bool is_parents = std::any_of(image + 1, erased.end(), [&](const auto& parent) {
        return std::find(parent->layer_keys.begin(), parent->layer_keys.end(), keys[count - 1]) !=
               parent->layer_keys.end();
      });
      if (gone == removed.end() || is_parents) continue;
      removed.erase(gone);
      with_layers.push_back({.deleted = spec::chain_id((*image)->image.config.rootfs.diff_ids, count)});
    }
  }
  return with_layers;
}

void DiskImageStore::forget_unused(const FindUsers& find_users) {
  std::set<std::string> unused;
  for (auto index = snapshot(); const auto& [id, stored] : index->kept)
    if (ImageUsers users = find_users(id); users.running.empty() && users.stopped.empty()) unused.insert(id);
  if (unused.empty()) return;
  {
    std::lock_guard lock(change_mutex_);
    ImageIndex next = *snapshot();
    for (const std::string& id : unused) next.kept.erase(id);
    if (auto done = apply(std::move(next), unused); !done)
      return log_warn("forgetting removed images: %s, ignoring", done.error().message.c_str());
  }
  collect();
}

}  // namespace caisson::image
