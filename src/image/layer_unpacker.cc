// SPDX-License-Identifier: Apache-2.0
// Where a tar leaves something out (a parent directory, the target of a hard link) it is taken from the
// layers below, so that metadata never changes by omission (image spec, "Layer", "Change Types").
#include "image/layer_unpacker.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <deque>

#include "base/text.h"
#include "image/parent_chain.h"
#include "sys/files.h"
#include "sys/nodes.h"
#include "wire/tar_file.h"
#include "wire/tar_reader.h"

namespace caisson::image {
namespace {

using Path = std::vector<std::string>;
using tar::Entry;
using tar::EntryType;

constexpr std::string_view kWhiteoutPrefix = ".wh.", kWhiteoutMeta = ".wh..wh.", kOpaqueMark = ".wh..wh..opq";
constexpr const char* kDefaultAcl = "system.posix_acl_default";
constexpr size_t kMaxName = 255;
constexpr int kMaxLinks = 40;

std::string to_text(const Path& path) { return path.empty() ? "." : join(path, "/"); }

// Attributes that an image may set. trusted.* and user.overlay.* steer overlay itself; security.* other
// than capabilities belong to the host's policy.
bool is_allowed_xattr(std::string_view name) {
  if (name.starts_with("user.overlay.")) return false;
  return name.starts_with("user.") || name == "security.capability" || name == "system.posix_acl_access" ||
         name == "system.posix_acl_default";
}

// Lexical clean-up as Docker does it: "/a/./b/../c" is a/c; climbing above the root is refused.
Result<Path> clean_path(const std::string& text) {
  Path out;
  for (std::string& part : split(text, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (out.empty()) return fail(ErrorKind::kInvalid, "layer: path %s leads out of the root", quoted(text).c_str());
      out.pop_back();
    } else {
      if (part.size() > kMaxName)
        return fail(ErrorKind::kInvalid, "layer: path %s has a name longer than 255 bytes", quoted(text).c_str());
      out.push_back(std::move(part));
    }
  }
  return out;
}

sys::Metadata metadata_of(const Entry& entry) {
  sys::Metadata out{.mode = entry.mode, .uid = entry.uid, .gid = entry.gid, .mtime_ns = entry.mtime_ns};
  for (const auto& [name, value] : entry.xattrs)
    if (is_allowed_xattr(name)) out.xattrs.emplace(name, value);
  return out;
}

Result<sys::Metadata> metadata_of(const ParentChain::Found& found) {
  sys::Metadata out{.mode = found.st.st_mode & 07777,
                    .uid = found.st.st_uid,
                    .gid = found.st.st_gid,
                    .mtime_ns = found.st.st_mtim.tv_sec * 1'000'000'000 + found.st.st_mtim.tv_nsec};
  for (auto& [name, value] : TRY(sys::list_xattrs_at(found.dir.get(), found.name)))
    if (is_allowed_xattr(name)) out.xattrs.emplace(name, std::move(value));
  return out;
}

class Unpacker {
 public:
  Unpacker(ByteSource& tar, int destination, ParentChain parents)
      : reader_(tar, {.allow_sparse = true}), root_(destination), parents_(std::move(parents)), buffer_(256 << 10) {}

  Result<UnpackedLayer> run();

 private:
  // A directory of this layer, and where it is in the merged tree.
  struct Place {
    UniqueFd dir;
    Path path;                  // links resolved
    bool lower_visible = true;  // no opaque directory on the way
  };

  Result<> add(const Entry& entry);
  Result<> add_root(const Entry& entry);
  Result<> add_whiteout(int dir, const std::string& name);
  Result<> add_directory(int dir, const std::string& name, const Path& path, const Entry& entry);
  Result<> add_file(int dir, const std::string& name, const Entry& entry);
  Result<> add_hard_link(int dir, const std::string& name, const Path& path, const Entry& entry);
  Result<> copy_up(const Place& place, const std::string& name, const ParentChain::Found& found);

  Result<int> parent_dir(const Path& path);
  Result<Place> make_place(const Path& path);
  Result<UniqueFd> make_implicit_dir(const Place& place, const std::string& name, bool over_whiteout,
                                     const std::optional<ParentChain::Found>& lower);
  Result<> clear_name(int dir, const std::string& name);
  Result<> finish_directories();
  Result<> set_directory_metadata(int fd, std::string path, sys::Metadata metadata);

  tar::Reader reader_;
  int root_;
  ParentChain parents_;
  std::vector<char> buffer_;
  UnpackedLayer result_;
  // Members of one directory follow each other: its fd is kept. Dropped whenever a name is replaced, as a
  // directory or link on its path may be the one.
  std::string cached_path_;
  UniqueFd cached_dir_;
  // Set last: making entries changes the time, and entries inherit the default list.
  struct Late {
    std::string path;
    int64_t mtime_ns = 0;
    std::string default_acl;
  };
  std::vector<Late> late_;
};

Result<UnpackedLayer> Unpacker::run() {
  while (auto entry = TRY(reader_.next())) {
    if (auto done = add(*entry); !done) {
      // What the archive asks for and the file system refuses is the archive's fault, save for lack of room.
      if (done.error().kind == ErrorKind::kInvalid) return std::unexpected(done.error());
      return with_context(done.error(), "layer: unpacking " + quoted(entry->path));
    }
    ++result_.entries;
  }
  TRY(reader_.drain());
  TRY(finish_directories());
  // Links between a removed directory and the rest are counted roughly.
  result_.size = std::max<int64_t>(result_.size, 0);
  return result_;
}

Result<> Unpacker::add(const Entry& entry) {
  Path path = TRY(clean_path(entry.path));
  if (path.empty()) return add_root(entry);
  std::string name = path.back();
  Path parent(path.begin(), path.end() - 1);
  for (const std::string& part : parent)
    if (part.starts_with(kWhiteoutPrefix))
      return part.starts_with(kWhiteoutMeta)
                 ? Result<>()
                 : fail(ErrorKind::kInvalid, "layer: path %s goes through a whiteout", quoted(entry.path).c_str());
  int dir = TRY(parent_dir(parent));

  if (name == kOpaqueMark) return sys::set_xattr(dir, sys::kOpaqueXattr, "y");
  if (name.starts_with(kWhiteoutMeta)) return {};  // bookkeeping of aufs, as Docker skips it
  if (name.starts_with(kWhiteoutPrefix)) return add_whiteout(dir, name.substr(kWhiteoutPrefix.size()));

  switch (entry.type) {
    case EntryType::kDirectory: return add_directory(dir, name, path, entry);
    case EntryType::kFile: return add_file(dir, name, entry);
    case EntryType::kHardLink: return add_hard_link(dir, name, path, entry);
    case EntryType::kSymlink:
      if (entry.link.empty())
        return fail(ErrorKind::kInvalid, "layer: link %s has no target", quoted(entry.path).c_str());
      TRY(clear_name(dir, name));
      TRY(sys::make_symlink_at(entry.link, dir, name));
      break;
    case EntryType::kCharDevice:
    case EntryType::kBlockDevice:
    case EntryType::kFifo: {
      uint32_t type = entry.type == EntryType::kFifo         ? S_IFIFO
                      : entry.type == EntryType::kCharDevice ? S_IFCHR
                                                             : S_IFBLK;
      TRY(clear_name(dir, name));
      TRY(sys::make_node_at(dir, name, type | 0600, entry.device_major, entry.device_minor));
      break;
    }
  }
  return sys::set_metadata_at(dir, name, metadata_of(entry));
}

Result<> Unpacker::add_root(const Entry& entry) {
  if (entry.type != EntryType::kDirectory) return fail(ErrorKind::kInvalid, "layer: the root is no directory");
  return set_directory_metadata(root_, ".", metadata_of(entry));
}

Result<> Unpacker::set_directory_metadata(int fd, std::string path, sys::Metadata metadata) {
  Late late{.path = std::move(path), .mtime_ns = metadata.mtime_ns};
  if (auto acl = metadata.xattrs.extract(kDefaultAcl)) late.default_acl = std::move(acl.mapped());
  late_.push_back(std::move(late));
  return sys::set_metadata(fd, metadata, false);
}

Result<> Unpacker::add_whiteout(int dir, const std::string& name) {
  if (name.empty() || name == "." || name == "..") return fail(ErrorKind::kInvalid, "layer: a whiteout without a name");
  auto st = TRY(sys::stat_at(dir, name));
  if (!st) return sys::make_node_at(dir, name, S_IFCHR, 0, 0);
  // It hides what is below, never what this layer brings: a directory of this layer becomes opaque.
  if (!S_ISDIR(st->st_mode)) return {};
  auto fd = TRY(sys::open_at(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return sys::set_xattr(fd.get(), sys::kOpaqueXattr, "y");
}

Result<> Unpacker::add_directory(int dir, const std::string& name, const Path& path, const Entry& entry) {
  auto st = TRY(sys::stat_at(dir, name));
  bool over_whiteout = st && sys::is_whiteout(*st);
  if (!st || !S_ISDIR(st->st_mode)) {
    if (st) TRY(clear_name(dir, name));
    TRY(sys::make_dir_at(dir, name));
  }
  auto fd = TRY(sys::open_at(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  TRY(set_directory_metadata(fd.get(), to_text(path), metadata_of(entry)));
  if (over_whiteout) TRY(sys::set_xattr(fd.get(), sys::kOpaqueXattr, "y"));
  return {};
}

Result<> Unpacker::add_file(int dir, const std::string& name, const Entry& entry) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
  auto opened = sys::open_at(dir, name, kFlags, 0600);
  if (!opened && opened.error().err == EEXIST) {
    TRY(clear_name(dir, name));
    opened = sys::open_at(dir, name, kFlags, 0600);
  }
  UniqueFd fd = TRY(std::move(opened));
  TRY(tar::write_member(reader_, fd.get(), entry.size, buffer_));
  result_.size += static_cast<int64_t>(entry.size);
  return sys::set_metadata(fd.get(), metadata_of(entry), true);
}

Result<> Unpacker::add_hard_link(int dir, const std::string& name, const Path& path, const Entry& entry) {
  Path target = TRY(clean_path(entry.link));
  if (target.empty() || target == path)
    return fail(ErrorKind::kInvalid, "layer: hard link %s has no valid target", quoted(entry.path).c_str());
  std::string target_name = target.back();
  target.pop_back();
  auto is_linkable = [](const sys::FileStat& st) { return !S_ISDIR(st.st_mode) && !sys::is_whiteout(st); };

  // clear_name() and make_place() may drop the cached directory that `dir` is: this one stays.
  UniqueFd own = TRY(sys::open_at(dir, ".", O_RDONLY | O_DIRECTORY));
  UniqueFd from;
  if (auto opened = sys::open_in_root(root_, to_text(target), O_RDONLY | O_DIRECTORY)) from = std::move(*opened);
  auto st = from ? TRY(sys::stat_at(from.get(), target_name)) : std::nullopt;
  if (!st) {
    result_.self_contained = false;
    Place place = TRY(make_place(target));
    Path full = place.path;
    full.push_back(target_name);
    auto found = place.lower_visible ? TRY(parents_.find(full)) : std::nullopt;
    if (!found || !is_linkable(found->st))
      return fail(ErrorKind::kInvalid, "layer: target %s of hard link %s does not exist", quoted(entry.link).c_str(),
                  quoted(entry.path).c_str());
    TRY(copy_up(place, target_name, *found));
    from = std::move(place.dir);
  } else if (!is_linkable(*st)) {
    return fail(ErrorKind::kInvalid, "layer: target %s of hard link %s is no file", quoted(entry.link).c_str(),
                quoted(entry.path).c_str());
  }
  auto existing = TRY(sys::stat_at(own.get(), name));
  auto target_now = TRY(sys::stat_at(from.get(), target_name));
  if (existing && target_now && existing->st_ino == target_now->st_ino && existing->st_dev == target_now->st_dev)
    return {};
  TRY(clear_name(own.get(), name));
  return sys::make_link_at(from.get(), target_name, own.get(), name);
}

Result<> Unpacker::copy_up(const Place& place, const std::string& name, const ParentChain::Found& found) {
  auto metadata = TRY(metadata_of(found));
  int dir = place.dir.get();
  if (S_ISREG(found.st.st_mode)) {
    auto from = TRY(sys::open_at(found.dir.get(), found.name, O_RDONLY | O_NOFOLLOW));
    auto to = TRY(sys::open_at(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    sys::FdSource source(from.get());
    while (size_t got = TRY(source.read(buffer_))) TRY(sys::write_all(to.get(), {buffer_.data(), got}));
    result_.size += found.st.st_size;
    return sys::set_metadata(to.get(), metadata, true);
  }
  if (S_ISLNK(found.st.st_mode))
    TRY(sys::make_symlink_at(TRY_CTX(sys::read_link_at(found.dir.get(), found.name), "copying up"), dir, name));
  else
    TRY(sys::make_node_at(dir, name, found.st.st_mode, gnu_dev_major(found.st.st_rdev),
                          gnu_dev_minor(found.st.st_rdev)));
  return sys::set_metadata_at(dir, name, metadata);
}

// The directory that a member goes into. The kernel resolves links of this layer inside its root; only
// what it does not find is walked by hand.
Result<int> Unpacker::parent_dir(const Path& path) {
  std::string text = to_text(path);
  if (cached_dir_ && text == cached_path_) return cached_dir_.get();
  auto opened = sys::open_in_root(root_, text, O_RDONLY | O_DIRECTORY);
  if (!opened) {
    int err = opened.error().err;
    if (err != ENOENT && err != ENOTDIR && err != ELOOP) return std::unexpected(opened.error());
    opened = TRY(make_place(path)).dir;
  }
  cached_dir_ = std::move(*opened);
  cached_path_ = std::move(text);
  return cached_dir_.get();
}

// Walks `path` over the merged tree, making in this layer what only exists below or nowhere.
Result<Unpacker::Place> Unpacker::make_place(const Path& path) {
  auto open_root = [&]() -> Result<Place> {
    return Place{TRY(sys::open_at(root_, ".", O_RDONLY | O_DIRECTORY)), {}, true};
  };
  std::deque<std::string> rest(path.begin(), path.end());
  Place place = TRY(open_root());
  int links = 0;
  auto follow = [&](const std::string& target) -> Result<> {
    if (++links > kMaxLinks)
      return fail(ErrorKind::kInvalid, "layer: too many links on path %s", quoted(to_text(path)).c_str());
    auto parts = split(target, '/');
    rest.insert(rest.begin(), parts.begin(), parts.end());
    if (target.starts_with('/')) place = TRY(open_root());
    return {};
  };
  while (!rest.empty()) {
    std::string name = std::move(rest.front());
    rest.pop_front();
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      // Up is the merged path without its last part; "/.." is "/".
      if (!place.path.empty()) place.path.pop_back();
      rest.insert(rest.begin(), place.path.begin(), place.path.end());
      place = TRY(open_root());
      continue;
    }
    if (name.size() > kMaxName)
      return fail(ErrorKind::kInvalid, "layer: path %s has a name longer than 255 bytes", quoted(name).c_str());
    auto st = TRY(sys::stat_at(place.dir.get(), name));
    bool over_whiteout = st && sys::is_whiteout(*st);
    if (st && S_ISLNK(st->st_mode)) {
      TRY(follow(TRY_CTX(sys::read_link_at(place.dir.get(), name), "layer")));
      continue;
    }
    if (st && S_ISDIR(st->st_mode)) {
      place.dir = TRY(sys::open_at(place.dir.get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      if (TRY(sys::is_opaque(place.dir.get()))) place.lower_visible = false;
      place.path.push_back(std::move(name));
      continue;
    }
    if (st && !over_whiteout)
      return fail(ErrorKind::kInvalid, "layer: %s on path %s is no directory", quoted(name).c_str(),
                  quoted(to_text(path)).c_str());

    result_.self_contained = false;
    Path full = place.path;
    full.push_back(name);
    std::optional<ParentChain::Found> lower;
    if (place.lower_visible && !over_whiteout) lower = TRY(parents_.find(full));
    if (lower && S_ISLNK(lower->st.st_mode)) {
      TRY(follow(TRY_CTX(sys::read_link_at(lower->dir.get(), lower->name), "layer")));
      continue;
    }
    if (lower && !S_ISDIR(lower->st.st_mode)) lower.reset();
    place.dir = TRY(make_implicit_dir(place, name, over_whiteout, lower));
    if (!lower) place.lower_visible = false;
    place.path = std::move(full);
  }
  return place;
}

Result<UniqueFd> Unpacker::make_implicit_dir(const Place& place, const std::string& name, bool over_whiteout,
                                             const std::optional<ParentChain::Found>& lower) {
  if (over_whiteout) TRY(clear_name(place.dir.get(), name));
  TRY(sys::make_dir_at(place.dir.get(), name));
  auto fd = TRY(sys::open_at(place.dir.get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (lower) {
    Path full = place.path;
    full.push_back(name);
    TRY(set_directory_metadata(fd.get(), to_text(full), TRY(metadata_of(*lower))));
  } else {
    TRY(sys::set_metadata(fd.get(), {}, false));
  }
  if (over_whiteout) TRY(sys::set_xattr(fd.get(), sys::kOpaqueXattr, "y"));
  return fd;
}

// The last of several members of one name counts.
Result<> Unpacker::clear_name(int dir, const std::string& name) {
  auto st = TRY(sys::stat_at(dir, name));
  if (!st) return {};
  if (S_ISREG(st->st_mode) && st->st_nlink == 1) result_.size -= st->st_size;
  if (S_ISDIR(st->st_mode))
    result_.size -=
        static_cast<int64_t>(TRY(sys::tree_size("/proc/self/fd/" + std::to_string(dir) + "/" + name)).bytes);
  TRY(sys::remove_tree_at(dir, name));
  // `dir` may be the cached one itself: keep that fd open, only never find it again by its path.
  if (!S_ISREG(st->st_mode)) cached_path_ = "\n";
  return {};
}

Result<> Unpacker::finish_directories() {
  cached_dir_.reset();
  for (const Late& late : late_) {
    // A later member may have put something else there.
    auto fd = sys::open_in_root(root_, late.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!fd) continue;
    if (!late.default_acl.empty()) TRY(sys::set_xattr(fd->get(), kDefaultAcl, late.default_acl));
    TRY(sys::set_mtime(fd->get(), late.mtime_ns));
  }
  return {};
}

}  // namespace

Result<UnpackedLayer> unpack_layer(ByteSource& tar, int destination, const std::vector<std::string>& parents) {
  auto chain = TRY(ParentChain::open(parents));
  return Unpacker(tar, destination, std::move(chain)).run();
}

}  // namespace caisson::image
