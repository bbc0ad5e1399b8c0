// SPDX-License-Identifier: Apache-2.0
#include "image/vfs.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <map>

#include "base/ids.h"
#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "sys/files.h"
#include "sys/mount.h"
#include "sys/tree_walk.h"
#include "wire/digest.h"

namespace caisson::image {

namespace {

using Entry = sys::TreeWalk::Entry;
constexpr const char* kCompleteMark = "/vfs-complete";

Result<sys::Metadata> metadata_of(const Entry& entry) {
  sys::Metadata out;
  out.mode = entry.st.st_mode & 07777;
  out.uid = entry.st.st_uid;
  out.gid = entry.st.st_gid;
  out.mtime_ns = entry.st.st_mtim.tv_sec * int64_t{1'000'000'000} + entry.st.st_mtim.tv_nsec;
  for (auto& [name, value] : TRY(sys::list_xattrs_at(entry.dir, entry.name)))
    if (!name.starts_with("trusted.overlay.")) out.xattrs.emplace(name, std::move(value));
  return out;
}

// The directory that holds `path`, below `root`; never through a link, as every directory on the way was made here.
Result<UniqueFd> parent_of(int root, const std::string& path) {
  size_t slash = path.rfind('/');
  return sys::open_in_root(root, slash == path.npos ? "." : path.substr(0, slash), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

Result<> copy_bytes(int from, int to, int64_t size) {
  if (ioctl(to, FICLONE, from) == 0) return {};
  int64_t left = size;
  while (left > 0) {
    ssize_t done = copy_file_range(from, nullptr, to, nullptr, static_cast<size_t>(left), 0);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0 && left == size && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS))
      break;
    if (done < 0) return fail_errno("copy");
    if (done == 0) return {};
    left -= done;
  }
  if (left == 0) return {};
  sys::FdSource source(from);
  std::vector<char> buffer(256 << 10);
  while (size_t got = TRY(source.read(buffer))) TRY(sys::write_all(to, {buffer.data(), got}));
  return {};
}

// Anything but a directory, at a place that is free.
Result<> copy_entry(const Entry& entry, int dir, const std::string& name) {
  auto metadata = TRY(metadata_of(entry));
  if (S_ISREG(entry.st.st_mode)) {
    auto from = TRY(sys::open_at(entry.dir, entry.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    auto to = TRY(sys::open_at(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    TRY_CTX(copy_bytes(from.get(), to.get(), entry.st.st_size), quoted(entry.path));
    return sys::set_metadata(to.get(), metadata, true);
  }
  if (S_ISLNK(entry.st.st_mode))
    TRY(sys::make_symlink_at(TRY(sys::read_link_at(entry.dir, entry.name)), dir, name));
  else
    TRY(sys::make_node_at(dir, name, entry.st.st_mode, major(entry.st.st_rdev), minor(entry.st.st_rdev)));
  return sys::set_metadata_at(dir, name, metadata);
}

class Flattener {
 public:
  explicit Flattener(int destination) : destination_(destination) {}

  Result<> add(const std::string& layer) {
    auto top = TRY(sys::open_file(layer, O_RDONLY | O_DIRECTORY));
    struct stat st {};
    if (fstat(top.get(), &st) < 0) return fail_errno("stat '%s'", layer.c_str());
    auto here = TRY(sys::open_at(AT_FDCWD, layer, O_RDONLY | O_DIRECTORY));
    Entry root{.dir = here.get(), .name = ".", .path = "", .st = st};
    times_["."] = TRY(metadata_of(root));
    TRY(sys::set_metadata(destination_, times_["."], false));
    auto walk = TRY(sys::TreeWalk::open(std::move(top), {}));
    std::map<std::pair<dev_t, ino_t>, std::string> links;
    for (Entry entry; TRY(walk.next(entry));) TRY(place(entry, links));
    return {};
  }

  // Children change the times of their directories, so those come last.
  Result<> finish() {
    for (auto it = times_.rbegin(); it != times_.rend(); ++it) {
      auto dir = sys::open_in_root(destination_, it->first, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (dir) TRY(sys::set_mtime(dir->get(), it->second.mtime_ns));
    }
    return {};
  }

 private:
  Result<> place(const Entry& entry, std::map<std::pair<dev_t, ino_t>, std::string>& links) {
    auto parent = TRY(parent_of(destination_, entry.path));
    auto there = TRY(sys::stat_at(parent.get(), entry.name));
    bool is_dir = S_ISDIR(entry.st.st_mode), is_dir_there = there && S_ISDIR(there->st_mode);
    if (there && !(is_dir && is_dir_there)) {
      TRY(sys::remove_tree_at(parent.get(), entry.name));
      there.reset();
    }
    if (sys::is_whiteout(entry.st)) return {};
    if (!is_dir) {
      if (entry.st.st_nlink > 1) {
        auto [first, is_new] = links.try_emplace({entry.st.st_dev, entry.st.st_ino}, entry.path);
        if (!is_new) {
          auto other = TRY(parent_of(destination_, first->second));
          size_t slash = first->second.rfind('/');
          return sys::make_link_at(other.get(), first->second.substr(slash == std::string::npos ? 0 : slash + 1),
                                   parent.get(), entry.name);
        }
      }
      return copy_entry(entry, parent.get(), entry.name);
    }
    if (!there) TRY(sys::make_dir_at(parent.get(), entry.name));
    auto dir = TRY(sys::open_at(parent.get(), entry.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    auto own = TRY(sys::open_at(entry.dir, entry.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    if (there && TRY(sys::is_opaque(own.get()))) {
      for (const auto& name : TRY(sys::list_dir("/proc/self/fd/" + std::to_string(dir.get()))))
        TRY(sys::remove_tree_at(dir.get(), name));
    }
    auto metadata = TRY(metadata_of(entry));
    TRY(sys::set_metadata(dir.get(), metadata, false));
    times_[entry.path] = std::move(metadata);
    return {};
  }

  int destination_;
  std::map<std::string, sys::Metadata> times_;  // of directories
};

bool is_changed(const sys::FileStat& a, const sys::FileStat& b) {
  return a.st_mode != b.st_mode || a.st_uid != b.st_uid || a.st_gid != b.st_gid ||
         (!S_ISDIR(a.st_mode) && (a.st_size != b.st_size || a.st_rdev != b.st_rdev)) ||
         a.st_mtim.tv_sec != b.st_mtim.tv_sec || a.st_mtim.tv_nsec != b.st_mtim.tv_nsec;
}

class Extractor {
 public:
  Extractor(int base, int changed, int destination) : base_(base), changed_(changed), destination_(destination) {}

  Result<> run() {
    auto walk = TRY(sys::TreeWalk::open(TRY(sys::open_at(changed_, ".", O_RDONLY | O_DIRECTORY)), {.one_mount = true}));
    for (Entry entry; TRY(walk.next(entry));) {
      auto below = TRY(find(base_, entry.path));
      if (below && !is_changed(*below, entry.st) && same_attributes(entry)) continue;
      auto parent = TRY(directory(parent_path(entry.path)));
      if (S_ISDIR(entry.st.st_mode)) {
        TRY(directory(entry.path));
        continue;
      }
      // One that vanished meanwhile was a change of the next moment.
      auto linked = sys::make_link_at(entry.dir, entry.name, parent.get(), entry.name);
      if (!linked && linked.error().err != ENOENT) return linked;
    }
    return mark_removed();
  }

 private:
  static std::string parent_path(const std::string& path) {
    size_t slash = path.rfind('/');
    return slash == path.npos ? "" : path.substr(0, slash);
  }

  static Result<std::optional<sys::FileStat>> find(int root, const std::string& path) {
    auto parent = parent_of(root, path);
    if (!parent) return std::optional<sys::FileStat>();
    size_t slash = path.rfind('/');
    return sys::stat_at(parent->get(), path.substr(slash == path.npos ? 0 : slash + 1));
  }

  bool same_attributes(const Entry& entry) const {
    auto parent = parent_of(base_, entry.path);
    auto own = sys::list_xattrs_at(entry.dir, entry.name);
    auto below = parent ? sys::list_xattrs_at(parent->get(), entry.name)
                        : Result<std::map<std::string, std::string>>(std::unexpected(parent.error()));
    return own && below && *own == *below;
  }

  // The directory in the destination, made with what it and those above are in the container.
  Result<UniqueFd> directory(const std::string& path) {
    if (path.empty()) return sys::open_at(destination_, ".", O_RDONLY | O_DIRECTORY);
    auto parent = TRY(directory(parent_path(path)));
    size_t slash = path.rfind('/');
    std::string name = path.substr(slash == path.npos ? 0 : slash + 1);
    if (!TRY(sys::stat_at(parent.get(), name))) {
      TRY(sys::make_dir_at(parent.get(), name));
      auto holder = TRY(parent_of(changed_, path));
      auto st = TRY(sys::stat_at(holder.get(), name));
      if (st) {
        auto made = TRY(sys::open_at(parent.get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
        TRY(sys::set_metadata(made.get(),
                              TRY(metadata_of({.dir = holder.get(), .name = name, .path = path, .st = *st})), true));
      }
    }
    return sys::open_at(parent.get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  }

  Result<> mark_removed() {
    auto walk = TRY(sys::TreeWalk::open(TRY(sys::open_at(base_, ".", O_RDONLY | O_DIRECTORY)), {}));
    for (Entry entry; TRY(walk.next(entry));) {
      auto now = TRY(find(changed_, entry.path));
      if (now && S_ISDIR(now->st_mode) == S_ISDIR(entry.st.st_mode)) continue;
      walk.skip_children();
      if (now) continue;  // something else has its place
      auto parent = TRY(directory(parent_path(entry.path)));
      TRY(sys::make_node_at(parent.get(), entry.name, S_IFCHR, 0, 0));
    }
    return {};
  }

  int base_, changed_, destination_;
};

}  // namespace

Result<> flatten_layers(const std::vector<std::string>& layers, int destination) {
  Flattener flattener(destination);
  for (const auto& layer : layers) TRY(flattener.add(layer));
  return flattener.finish();
}

Result<> extract_changes(int base, int changed, int destination) { return Extractor(base, changed, destination).run(); }

std::string vfs_base_name(const std::vector<std::string>& layers) {
  std::string all;
  for (const auto& layer : layers) all += layer.substr(layer.rfind('/') + 1) + "/";
  return std::string(digest::hex_of(digest::sha256(all)));
}

Result<std::string> vfs_base(const std::vector<std::string>& layers, const std::string& cache) {
  std::string path = cache + "/" + vfs_base_name(layers);
  if (sys::path_exists(path)) return path;
  TRY(sys::make_dirs(cache, 0700));
  // Its name comes with a rename when it is complete; of two that make it one is dropped.
  std::string temporary = cache + "/making-" + random_hex(16);
  Rollback undo;
  TRY(sys::make_dirs(temporary));
  undo.add([&] {
    if (auto done = sys::remove_tree(temporary); !done) log_warn("%s, ignoring", done.error().message.c_str());
  });
  auto dir = TRY(sys::open_file(temporary, O_RDONLY | O_DIRECTORY));
  TRY_CTX(flatten_layers(layers, dir.get()), "copying the layers of an image");
  if (rename(temporary.c_str(), path.c_str()) == 0)
    undo.commit();
  else if (errno != EEXIST && errno != ENOTEMPTY)
    return fail_errno("rename to '%s'", path.c_str());
  return path;
}

Result<UniqueFd> mount_vfs(const std::vector<std::string>& layers, const std::string& cache,
                           const std::string& directory, const std::string& state, bool read_only) {
  std::string shown = directory;
  if (directory.empty()) {
    shown = layers.size() == 1 ? layers[0] : TRY(vfs_base(layers, cache));
    read_only = true;
  } else if (!sys::path_exists(state + kCompleteMark)) {
    // A copy that was cut short is of no use.
    auto dir = TRY(sys::open_file(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    for (const auto& name : TRY(sys::list_dir(directory))) TRY(sys::remove_tree_at(dir.get(), name));
    TRY_CTX(flatten_layers({layers.size() == 1 ? layers[0] : TRY(vfs_base(layers, cache))}, dir.get()),
            "copying the image");
    TRY(sys::write_file(state + kCompleteMark, "", 0600));
  }
  auto mount = TRY(sys::clone_mount(AT_FDCWD, shown, false));
  TRY(sys::set_mount_attributes(mount.get(), read_only ? MOUNT_ATTR_RDONLY : 0, 0, 0, false));
  return mount;
}

}  // namespace caisson::image
