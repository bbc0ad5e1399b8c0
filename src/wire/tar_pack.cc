// SPDX-License-Identifier: Apache-2.0
#include "wire/tar_pack.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>

#include "base/text.h"
#include "sys/files.h"

namespace caisson::tar {

static constexpr size_t kPieceSize = 256 << 10;

Result<std::unique_ptr<TreeSource>> TreeSource::open(int root, const std::string& path, const std::string& name) {
  auto st = TRY(sys::stat_in_root(root, path));
  std::unique_ptr<TreeSource> out(new TreeSource);
  if (S_ISDIR(st.st_mode)) {
    auto dir = TRY(sys::open_in_root(root, path, O_RDONLY | O_DIRECTORY));
    out->prefix_ = name.ends_with('/') ? name : name + "/";
    TRY(out->add(dir.get(), ".", out->prefix_, st));
    out->walk_ = TRY(sys::TreeWalk::open(std::move(dir), {}));
  } else {
    size_t slash = path.rfind('/');
    auto dir = TRY(sys::open_in_root(root, path.substr(0, slash + 1), O_RDONLY | O_DIRECTORY));
    TRY(out->add(dir.get(), path.substr(slash + 1), name, st));
  }
  return out;
}

Result<std::unique_ptr<TreeSource>> TreeSource::open_mount(int root) {
  std::unique_ptr<TreeSource> out(new TreeSource);
  out->walk_ = TRY(sys::TreeWalk::open(TRY(sys::open_in_root(root, "/", O_RDONLY | O_DIRECTORY)), {.one_mount = true}));
  return out;
}

Result<std::unique_ptr<TreeSource>> TreeSource::open_layer(UniqueFd upper, Skip skip) {
  std::unique_ptr<TreeSource> out(new TreeSource);
  out->is_layer_ = true;
  out->skip_ = std::move(skip);
  out->walk_ = TRY(sys::TreeWalk::open(std::move(upper), {}));
  return out;
}

// What a layer may carry: the rest is the host's own, or would steer overlay.
static bool is_layer_xattr(const std::string& name) {
  return name == "security.capability" || name.starts_with("system.posix_acl_") ||
         (name.starts_with("user.") && !name.starts_with("user.overlay."));
}

Result<> TreeSource::add_mark(const std::string& path) {
  Entry mark;
  mark.path = path;
  mark.mode = 0;
  return writer_.begin(mark);
}

Result<> TreeSource::add_layer_marks(const sys::TreeWalk::Entry& entry) {
  if (sys::is_whiteout(entry.st)) {
    size_t slash = entry.path.rfind('/') + 1;  // 0 where there is none
    return add_mark(entry.path.substr(0, slash) + ".wh." + entry.path.substr(slash));
  }
  TRY(add(entry.dir, entry.name, entry.path, entry.st));
  if (!S_ISDIR(entry.st.st_mode)) return {};
  auto dir = sys::open_at(entry.dir, entry.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!dir) return dir.error().err == ENOENT ? Result<>{} : std::unexpected(std::move(dir).error());
  return TRY(sys::is_opaque(dir->get())) ? add_mark(entry.path + "/.wh..wh..opq") : Result<>{};
}

Result<> TreeSource::begin_file(int dir, const std::string& name, Entry& entry) {
  // Never opened for reading before it is known to be a regular file: a device would do something.
  auto found = sys::open_at(dir, name, O_PATH | O_NOFOLLOW);
  if (!found) return found.error().err == ENOENT ? Result<>{} : std::unexpected(std::move(found).error());
  sys::FileStat st{};
  if (fstat(found->get(), &st) < 0) return fail_errno("stat %s", quoted(name).c_str());
  if (!S_ISREG(st.st_mode)) return {};
  file_ = TRY(sys::open_file("/proc/self/fd/" + std::to_string(found->get()), O_RDONLY));
  entry.size = file_left_ = static_cast<uint64_t>(st.st_size);
  char capability[64];
  if (is_layer_) return writer_.begin(entry);  // it has them all already
  ssize_t size = fgetxattr(file_.get(), "security.capability", capability, sizeof capability);
  if (size > 0) entry.xattrs["security.capability"] = std::string(capability, static_cast<size_t>(size));
  return writer_.begin(entry);
}

// Exactly as many bytes as the header says, whatever happens to the file meanwhile.
Result<> TreeSource::add_data() {
  std::string piece(std::min<uint64_t>(file_left_, kPieceSize), '\0');
  ssize_t got = ::read(file_.get(), piece.data(), piece.size());
  if (got < 0 && errno != EINTR) return fail_errno("read");
  if (got < 0) return {};
  if (got > 0) piece.resize(static_cast<size_t>(got));
  file_left_ -= piece.size();
  return writer_.write(piece);
}

Result<> TreeSource::add(int dir, const std::string& name, const std::string& path, const sys::FileStat& st) {
  Entry entry;
  entry.path = path;
  entry.mode = st.st_mode & 07777;
  entry.uid = st.st_uid;
  entry.gid = st.st_gid;
  entry.mtime_ns = st.st_mtim.tv_sec * 1'000'000'000;
  if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
    auto [first, is_new] = linked_.try_emplace({st.st_dev, st.st_ino}, path);
    if (!is_new) {
      entry.type = EntryType::kHardLink;
      entry.link = first->second;
      return writer_.begin(entry);
    }
  }
  if (is_layer_)
    for (auto& [key, value] : TRY(sys::list_xattrs_at(dir, name)))
      if (is_layer_xattr(key)) entry.xattrs[key] = value;
  switch (st.st_mode & S_IFMT) {
    case S_IFREG: return begin_file(dir, name, entry);
    case S_IFDIR: entry.type = EntryType::kDirectory; break;
    case S_IFIFO: entry.type = EntryType::kFifo; break;
    case S_IFLNK: {
      entry.type = EntryType::kSymlink;
      auto target = sys::read_link_at(dir, name);
      if (!target) return {};  // gone, or something else by now
      entry.link = *target;
      break;
    }
    case S_IFCHR:
    case S_IFBLK:
      entry.type = S_ISCHR(st.st_mode) ? EntryType::kCharDevice : EntryType::kBlockDevice;
      entry.device_major = gnu_dev_major(st.st_rdev);
      entry.device_minor = gnu_dev_minor(st.st_rdev);
      break;
    default: return {};
  }
  return writer_.begin(entry);
}

Result<> TreeSource::step() {
  if (file_left_ > 0) return add_data();
  file_.reset();
  sys::TreeWalk::Entry entry;
  if (walk_ && TRY(walk_->next(entry))) {
    if (is_layer_) {
      if (skip_ && skip_(entry.path, entry.st)) return {};
      TRY_CTX(add_layer_marks(entry), "archiving " + quoted(entry.path));
      return {};
    }
    TRY_CTX(add(entry.dir, entry.name, prefix_ + entry.path, entry.st), "archiving " + quoted(entry.path));
    return {};
  }
  finished_ = true;
  return writer_.finish();
}

Result<size_t> TreeSource::read(std::span<char> out) {
  while (buffer_.used == buffer_.bytes.size()) {
    if (finished_) return 0;
    buffer_.bytes.clear();
    buffer_.used = 0;
    // Many small members make one large piece.
    while (!finished_ && buffer_.bytes.size() < kPieceSize / 2) TRY(step());
  }
  size_t size = std::string_view(buffer_.bytes).substr(buffer_.used).copy(out.data(), out.size());
  buffer_.used += size;
  return size;
}

Result<> TreeSource::copy_to(ByteSink& out) {
  std::string piece(kPieceSize, '\0');
  while (size_t size = TRY(read(piece))) TRY(out.write({piece.data(), size}));
  return {};
}

}  // namespace caisson::tar
