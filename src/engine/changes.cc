// SPDX-License-Identifier: Apache-2.0
#include "engine/changes.h"

#include <fcntl.h>
#include <sys/xattr.h>

#include <algorithm>
#include <map>
#include <optional>

#include "sys/files.h"
#include "sys/nodes.h"
#include "sys/tree_walk.h"

namespace caisson::engine {

bool is_mount_point_of_start(const std::string& path, const sys::FileStat& st) {
  static constexpr std::string_view directories[] = {"dev",  "dev/pts", "dev/shm", "dev/mqueue",   "etc",
                                                     "proc", "sys",     "sys/fs",  "sys/fs/cgroup"};
  static constexpr std::string_view files[] = {"dev/console",     "etc/hosts", "etc/hostname",
                                               "etc/resolv.conf", "dev/init",  "sbin/docker-init"};
  auto is_in = [&](auto& list) { return std::find(std::begin(list), std::end(list), path) != std::end(list); };
  if (S_ISDIR(st.st_mode)) return is_in(directories);
  return S_ISREG(st.st_mode) && st.st_size == 0 && is_in(files);
}

namespace {

constexpr const char* kRedirectXattr = "trusted.overlay.redirect";
constexpr size_t kMaxChanges = 2'000'000;

class Comparison {
 public:
  explicit Comparison(const ContainerRoots::Layers& layers) : layers_(layers) {}
  Result<> run();
  Result<> run_whole();
  std::vector<Change> take();

 private:
  // `complete`: what is not in the tree is not in the container; otherwise whiteouts say what is gone.
  Result<> compare(UniqueFd dir, const std::string& prefix, bool complete);
  Result<> compare_entry(const sys::TreeWalk::Entry& entry, const std::string& path, bool complete,
                         sys::TreeWalk& walk);
  Result<> compare_directory(const sys::TreeWalk::Entry& entry, const std::string& path, bool exists_below,
                             bool complete, sys::TreeWalk& walk);
  Result<std::optional<sys::FileStat>> below(const std::string& path);
  Result<std::vector<std::string>> names_below(const std::string& path);
  Result<> add(const std::string& path, ChangeKind kind);
  bool is_complete(const std::string& path) const;

  const ContainerRoots::Layers& layers_;
  bool shows_mount_points_ = false;
  std::map<std::string, ChangeKind> found_;
  std::vector<std::string> opaque_;  // directories of the walk under way, outermost first
};

bool is_same(const sys::FileStat& a, const sys::FileStat& b) {
  if (a.st_mode != b.st_mode || a.st_uid != b.st_uid || a.st_gid != b.st_gid || a.st_rdev != b.st_rdev) return false;
  if (S_ISDIR(a.st_mode)) return true;
  return a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

bool has_xattr(int dir, const std::string& name, const char* attribute) {
  std::string path = "/proc/self/fd/" + std::to_string(dir) + "/" + name;
  return lgetxattr(path.c_str(), attribute, nullptr, 0) > 0;
}

Result<std::optional<sys::FileStat>> Comparison::below(const std::string& path) {
  auto fd = sys::open_in_root(layers_.lower.get(), path, O_PATH | O_NOFOLLOW);
  if (!fd) {
    if (fd.error().err == ENOENT || fd.error().err == ENOTDIR || fd.error().err == ELOOP) return std::nullopt;
    return std::unexpected(std::move(fd).error());
  }
  sys::FileStat st{};
  if (fstat(fd->get(), &st) < 0) return fail_errno("stat '%s'", path.c_str());
  return st;
}

Result<std::vector<std::string>> Comparison::names_below(const std::string& path) {
  auto dir = sys::open_in_root(layers_.lower.get(), path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!dir) return std::vector<std::string>{};
  auto walk = TRY(sys::TreeWalk::open(std::move(*dir), {}));
  std::vector<std::string> out;
  sys::TreeWalk::Entry entry;
  while (TRY(walk.next(entry))) {
    walk.skip_children();
    out.push_back(entry.name);
  }
  return out;
}

Result<> Comparison::add(const std::string& path, ChangeKind kind) {
  if (found_.size() >= kMaxChanges) return fail(ErrorKind::kExhausted, "more than %zu changes", kMaxChanges);
  found_[path] = kind;
  // What holds a change is a change.
  for (size_t slash = path.rfind('/'); slash != path.npos && slash > 0; slash = path.rfind('/', slash - 1))
    if (!found_.try_emplace(path.substr(0, slash), kModified).second) break;
  return {};
}

bool Comparison::is_complete(const std::string& path) const {
  return std::any_of(opaque_.begin(), opaque_.end(),
                     [&](const std::string& top) { return path.starts_with(top + "/"); });
}

Result<> Comparison::compare_directory(const sys::TreeWalk::Entry& entry, const std::string& path, bool exists_below,
                                       bool complete, sys::TreeWalk& walk) {
  auto dir = TRY(sys::open_at(entry.dir, entry.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (!complete && has_xattr(entry.dir, entry.name, kRedirectXattr)) {
    // It shows another directory of the image: only the merged tree knows what is in it.
    walk.skip_children();
    auto merged = TRY(image::mount_overlay(layers_.directories, "", "", {.read_only = true}));
    auto inside = sys::open_in_root(merged.get(), path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!inside) return {};
    for (const auto& name : exists_below ? TRY(names_below(path)) : std::vector<std::string>{}) {
      auto st = TRY(sys::stat_at(inside->get(), name));
      if (!st) TRY(add(path + "/" + name, kDeleted));
    }
    return compare(std::move(*inside), path + "/", true);
  }
  if (!complete && TRY(sys::is_opaque(dir.get()))) {
    opaque_.push_back(path);
    complete = true;
  }
  if (!complete || !exists_below) return {};
  for (const auto& name : TRY(names_below(path))) {
    auto st = TRY(sys::stat_at(dir.get(), name));
    if (!st || sys::is_whiteout(*st)) TRY(add(path + "/" + name, kDeleted));
  }
  return {};
}

Result<> Comparison::compare_entry(const sys::TreeWalk::Entry& entry, const std::string& path, bool complete,
                                   sys::TreeWalk& walk) {
  auto lower = TRY(below(path));
  if (sys::is_whiteout(entry.st)) return lower && !complete ? add(path, kDeleted) : Result<>{};
  bool is_directory = S_ISDIR(entry.st.st_mode);
  if (!lower) {
    // The leading slash stays out of the table.
    if (shows_mount_points_ || !is_mount_point_of_start(path.substr(1), entry.st)) TRY(add(path, kAdded));
  } else {
    if (!is_same(entry.st, *lower)) TRY(add(path, kModified));
    if (S_ISDIR(lower->st_mode) && !is_directory)
      for (const auto& name : TRY(names_below(path))) TRY(add(path + "/" + name, kDeleted));
  }
  if (is_directory) return compare_directory(entry, path, lower && S_ISDIR(lower->st_mode), complete, walk);
  return {};
}

Result<> Comparison::compare(UniqueFd dir, const std::string& prefix, bool complete) {
  auto walk = TRY(sys::TreeWalk::open(std::move(dir), {}));
  sys::TreeWalk::Entry entry;
  while (TRY(walk.next(entry))) {
    std::string path = prefix + entry.path;
    auto done = compare_entry(entry, path, complete || is_complete(path), walk);
    // A running container goes on changing what is being read.
    if (!done && done.error().err != ENOENT && done.error().err != ENOTDIR) return done;
  }
  return {};
}

Result<> Comparison::run() {
  auto upper = TRY(sys::open_at(layers_.upper.get(), ".", O_RDONLY | O_DIRECTORY));
  return compare(std::move(upper), "/", false);
}

Result<> Comparison::run_whole() {
  shows_mount_points_ = true;
  for (const auto& name : TRY(names_below("/")))
    if (!TRY(sys::stat_at(layers_.upper.get(), name))) TRY(add("/" + name, kDeleted));
  auto upper = TRY(sys::open_at(layers_.upper.get(), ".", O_RDONLY | O_DIRECTORY));
  return compare(std::move(upper), "/", true);
}

std::vector<Change> Comparison::take() {
  std::vector<Change> out;
  out.reserve(found_.size());
  for (auto& [path, kind] : found_) out.push_back({path, kind});
  return out;
}

}  // namespace

Result<std::vector<Change>> find_changes(const ContainerRoots::Layers& layers) {
  Comparison comparison(layers);
  TRY_CTX(comparison.run(), "comparing with the image");
  return comparison.take();
}

Result<std::vector<Change>> find_tree_changes(UniqueFd lower, UniqueFd upper) {
  ContainerRoots::Layers layers;
  layers.lower = std::move(lower);
  layers.upper = std::move(upper);
  Comparison comparison(layers);
  TRY_CTX(comparison.run_whole(), "comparing two images");
  return comparison.take();
}

}  // namespace caisson::engine
