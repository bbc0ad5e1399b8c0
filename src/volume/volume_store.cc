// SPDX-License-Identifier: Apache-2.0
#include "volume/volume_store.h"

#include <sys/stat.h>

#include <algorithm>
#include <mutex>

#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "sys/files.h"
#include "wire/json.h"

namespace caisson::volume {

struct StoredVolume {
  std::string created_at;
  std::map<std::string, std::string> labels;
};
CAISSON_JSON(StoredVolume, CAISSON_FIELD("CreatedAt", created_at), CAISSON_FIELD("Labels", labels))

bool is_valid_name(std::string_view name) {
  auto is_word = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (name.size() < 2 || name.size() > 255 || !is_word(name[0])) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return is_word(c) || c == '_' || c == '.' || c == '-'; });
}

static bool is_path_free(const std::string& name) {
  return !name.empty() && name.size() <= 255 && name.find('/') == std::string::npos && name != "." && name != "..";
}

struct VolumeStore::Holds {
  std::mutex mutex;
  std::map<std::string, int> count;
};

VolumeStore::VolumeStore(std::string root, std::string trash)
    : root_(std::move(root)), trash_(std::move(trash)), holds_(std::make_shared<Holds>()) {}

std::shared_ptr<void> VolumeStore::take_hold(const std::string& name) {
  ++holds_->count[name];
  return {nullptr, [holds = holds_, name](void*) {
            std::lock_guard lock(holds->mutex);
            if (--holds->count[name] == 0) holds->count.erase(name);
          }};
}

// Everything of a volume, flushed, under a name that the next engine's start clears away.
Result<std::string> VolumeStore::make_draft(const std::map<std::string, std::string>& labels) {
  TRY(sys::make_dirs(root_, 0711));
  TRY(sys::make_dirs(trash_, 0700));
  std::string draft = trash_ + "/rm-volume-" + random_id();
  auto fill = [&]() -> Result<> {
    if (mkdir(draft.c_str(), 0711) < 0) return fail_errno("mkdir '%s'", draft.c_str());
    std::string data = draft + "/_data";
    if (mkdir(data.c_str(), 0755) < 0) return fail_errno("mkdir '%s'", data.c_str());
    StoredVolume stored{format_rfc3339(now_ns()), labels};
    return sys::replace_file(draft + "/volume.json", json::encode(stored) + "\n", 0600, true);
  };
  if (auto filled = fill(); !filled) {
    discard(draft);
    return std::unexpected(std::move(filled).error());
  }
  return draft;
}

void VolumeStore::discard(const std::string& draft) {
  if (auto removed = sys::remove_tree(draft); !removed) log_warn("%s", removed.error().message.c_str());
}

Result<VolumeStore::Opened> VolumeStore::open_or_create(const std::string& name,
                                                        const std::map<std::string, std::string>& labels) {
  if (!is_path_free(name)) return fail(ErrorKind::kInvalid, "\"%s\" is not a valid volume name", name.c_str());
  std::string directory = root_ + "/" + name;
  Opened opened{path_of(name), false, nullptr};
  {
    std::lock_guard lock(holds_->mutex);
    // Not the data themselves: somebody may have mounted something there that does not answer.
    if (sys::path_exists(directory)) {
      opened.hold = take_hold(name);
      return opened;
    }
  }
  // Flushed without the lock, which all other volumes need, too.
  std::string draft = TRY(make_draft(labels));
  int error = 0;
  bool is_there = false;
  {
    std::lock_guard lock(holds_->mutex);
    if (::rename(draft.c_str(), directory.c_str()) < 0) error = errno;
    opened.created = error == 0;
    // Somebody else was quicker: a directory that has something in it is not replaced.
    is_there = error == 0 || error == ENOTEMPTY || error == EEXIST;
    if (is_there) opened.hold = take_hold(name);
  }
  if (error) discard(draft);
  if (!is_there) return fail_errno_of(error, "rename to '%s'", directory.c_str());
  return opened;
}

Result<Volume> VolumeStore::find(const std::string& name) const {
  Volume out{name, path_of(name), 0, {}};
  struct stat st {};
  // Of the directory around the data, for the same reason.
  if (!is_path_free(name) || stat((root_ + "/" + name).c_str(), &st) < 0 || !S_ISDIR(st.st_mode))
    return fail(ErrorKind::kNotFound, "get %s: no such volume", name.substr(0, 128).c_str());
  // One that an earlier release made has no such file.
  out.created_ns = st.st_ctim.tv_sec * 1'000'000'000 + st.st_ctim.tv_nsec;
  auto text = sys::read_file(root_ + "/" + name + "/volume.json", 1 << 20);
  if (!text) return out;
  auto stored = json::decode<StoredVolume>(*text);
  if (!stored) {
    log_warn("volume '%s': %s, its labels are not known", name.c_str(), stored.error().message.c_str());
    return out;
  }
  out.created_ns = parse_rfc3339(stored->created_at).value_or(out.created_ns);
  out.labels = std::move(stored->labels);
  return out;
}

Result<std::vector<Volume>> VolumeStore::list() const {
  std::vector<Volume> out;
  if (!sys::path_exists(root_)) return out;
  auto names = TRY(sys::list_dir(root_));
  std::sort(names.begin(), names.end());
  for (const auto& name : names)
    if (auto volume = find(name)) out.push_back(std::move(*volume));  // else removed meanwhile, or no volume at all
  return out;
}

// Out of sight at once; the path to delete.
Result<std::string> VolumeStore::detach(const std::string& name) {
  TRY(sys::make_dirs(trash_, 0700));
  std::string path = root_ + "/" + name, doomed = trash_ + "/rm-volume-" + random_id();
  if (::rename(path.c_str(), doomed.c_str()) < 0) {
    if (errno == ENOENT) return std::string();
    return fail_errno("remove %s: rename '%s'", name.c_str(), path.c_str());
  }
  return doomed;
}

Result<> VolumeStore::remove(const std::string& name) {
  if (!is_path_free(name)) return {};
  std::string doomed = TRY(detach(name));
  return doomed.empty() ? Result<>{} : sys::remove_tree(doomed);
}

Result<> VolumeStore::remove_unused(const std::string& name,
                                    const std::function<std::string(const std::string&)>& user_of) {
  std::string doomed;
  {
    std::lock_guard lock(holds_->mutex);
    TRY(find(name));
    std::string user = user_of(name);
    if (user.empty() && holds_->count.contains(name)) user = "a container that is being created";
    if (!user.empty())
      return fail(ErrorKind::kConflict, "remove %s: volume is in use - [%s]", name.c_str(), user.c_str());
    doomed = TRY(detach(name));
  }
  return doomed.empty() ? Result<>{} : sys::remove_tree(doomed);
}

}  // namespace caisson::volume
