// SPDX-License-Identifier: Apache-2.0
// remove(): Docker's rules for untagging and deleting, in the order in which Docker checks them.
#include <algorithm>

#include "base/clock.h"
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

}  // namespace

Result<std::vector<RemovedImage>> DiskImageStore::remove(
    const std::string& text, bool force, const std::function<std::string(const std::string&)>& used_by) {
  std::vector<RemovedImage> out;
  std::string id;
  std::vector<std::string> diff_ids;
  {
    // Asked before the lock, as it looks into the containers, which may be waiting for layers() just now.
    std::string asked, user;
    std::unique_lock lock(change_mutex_, std::defer_lock);
    while (true) {
      asked = TRY(snapshot()->find(text)).image->image.id;
      user = used_by ? used_by(asked) : "";
      lock.lock();
      auto again = snapshot()->find(text);
      if (again && again->image->image.id == asked) break;
      lock.unlock();  // the name moved meanwhile
    }
    ImageIndex next = *snapshot();
    auto found = TRY(next.find(text));
    id = found.image->image.id;
    diff_ids = found.image->image.config.rootfs.diff_ids;
    std::vector<std::string> names = next.names_of(id);
    auto untag = [&](const std::string& name) {
      next.names.erase(name);
      std::erase(names, name);
      out.push_back({.untagged = familiar_of(name)});
    };

    bool by_name = !found.name.empty() && !is_id_prefix(id, text);
    if (by_name) {
      if (!force && !user.empty() && is_single_reference(names))
        return fail(ErrorKind::kConflict,
                    "conflict: unable to remove repository reference \"%s\" (must force) - container %s is using its "
                    "referenced image %s",
                    text.c_str(), short_id(user).c_str(), short_id(id).c_str());
      untag(found.name);
      // With its last tag a repository's digest names go too.
      if (!is_digest_name(found.name)) {
        std::string repository = repository_of(found.name);
        std::vector<std::string> digests;
        bool other_tag = false;
        for (const std::string& name : names) {
          if (repository_of(name) != repository) continue;
          if (is_digest_name(name))
            digests.push_back(name);
          else
            other_tag = true;
        }
        if (!other_tag)
          for (const std::string& name : digests) untag(name);
      }
      // Docker keeps an image that a container uses as an untagged one.
      if (!names.empty() || !user.empty()) {
        TRY(apply(std::move(next), {id}));
        return out;
      }
    } else {
      if (!force && names.size() > 1 && !is_single_reference(names))
        return fail(ErrorKind::kConflict,
                    "conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories",
                    short_id(id).c_str());
      if (!user.empty() && !force)
        return fail(ErrorKind::kConflict,
                    "conflict: unable to delete %s (must be forced) - image is being used by stopped container %s",
                    short_id(id).c_str(), short_id(user).c_str());
      for (const std::string& name : std::vector(names)) untag(name);
      // Its layers carry a container: the names go, the image stays until the container is gone.
      if (!user.empty()) {
        if (out.empty())
          return fail(ErrorKind::kConflict,
                      "conflict: unable to delete %s (cannot be forced) - image is being used by running container %s",
                      short_id(id).c_str(), short_id(user).c_str());
        TRY(apply(std::move(next), {id}));
        return out;
      }
    }
    next.images.erase(id);
    TRY(apply(std::move(next), {id}));
    out.push_back({.deleted = id});
  }
  // Docker lists the layers that went by their chain-ids, topmost first.
  std::vector<std::string> stack_keys;
  for (size_t count = 1; count <= diff_ids.size(); ++count)
    stack_keys.push_back(
        layers_.find({diff_ids.begin(), diff_ids.begin() + static_cast<ptrdiff_t>(count)}).value_or(""));
  std::vector<std::string> removed;
  collect(&removed);
  for (size_t count = diff_ids.size(); count > 0; --count)
    if (std::find(removed.begin(), removed.end(), stack_keys[count - 1]) != removed.end())
      out.push_back({.deleted = spec::chain_id(diff_ids, count)});
  return out;
}

}  // namespace caisson::image
