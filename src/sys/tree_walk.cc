// SPDX-License-Identifier: Apache-2.0
#include "sys/tree_walk.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "base/text.h"

namespace caisson::sys {

namespace {

// One descriptor each.
constexpr size_t kMaxLevels = 400;

struct CloseWalkDir {
  void operator()(DIR* dir) const { closedir(dir); }
};

// COMPAT(linux<5.8): no mount ids; then everything is one mount.
uint64_t mount_id(int fd) {
  struct statx st {};
  if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_MNT_ID, &st) < 0 || !(st.stx_mask & STATX_MNT_ID)) return 0;
  return st.stx_mnt_id;
}

}  // namespace

Result<TreeWalk> TreeWalk::open(UniqueFd dir, Options options) {
  TreeWalk walk;
  walk.options_ = options;
  walk.mount_ = mount_id(dir.get());
  TRY(walk.push(std::move(dir), ""));
  return walk;
}

Result<> TreeWalk::push(UniqueFd dir, std::string path) {
  if (levels_.size() >= kMaxLevels)
    return fail(ErrorKind::kInvalid, "more than %zu directories inside each other at %s", kMaxLevels,
                quoted(path).c_str());
  int again = openat(dir.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (again < 0) return fail_errno("open directory %s", quoted(path).c_str());
  std::unique_ptr<DIR, CloseWalkDir> handle(fdopendir(again));
  if (!handle) {
    close(again);
    return fail_errno("fdopendir");
  }
  Level level{std::move(dir), {}, std::move(path)};
  errno = 0;
  while (dirent* entry = readdir(handle.get())) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") level.names.emplace_back(name);
  }
  if (errno != 0) return fail_errno("read directory %s", quoted(level.path).c_str());
  std::sort(level.names.begin(), level.names.end(), std::greater<>());
  levels_.push_back(std::move(level));
  return {};
}

Result<bool> TreeWalk::next(Entry& entry) {
  if (std::exchange(enter_, false)) {
    UniqueFd dir(openat(levels_.back().dir.get(), last_name_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    bool gone = !dir && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP);
    if (!dir && !gone) return fail_errno("open directory %s", quoted(last_path_).c_str());
    if (dir && (!options_.one_mount || mount_id(dir.get()) == mount_)) TRY(push(std::move(dir), last_path_ + "/"));
  }
  while (!levels_.empty()) {
    Level& level = levels_.back();
    if (level.names.empty()) {
      levels_.pop_back();
      continue;
    }
    entry.name = std::move(level.names.back());
    level.names.pop_back();
    auto st = TRY(stat_at(level.dir.get(), entry.name));
    if (!st) continue;
    entry.st = *st;
    entry.dir = level.dir.get();
    entry.path = level.path + entry.name;
    if (S_ISDIR(st->st_mode)) {
      enter_ = true;
      last_name_ = entry.name;
      last_path_ = entry.path;
    }
    return true;
  }
  return false;
}

}  // namespace caisson::sys
