// SPDX-License-Identifier: Apache-2.0
#include "wire/tar_extract.h"

#include <fcntl.h>

#include <tuple>
#include <vector>

#include "base/text.h"
#include "sys/files.h"
#include "sys/nodes.h"
#include "wire/json.h"
#include "wire/tar_file.h"
#include "wire/tar_reader.h"

namespace caisson::tar {

namespace {

constexpr const char* kDefaultAcl = "system.posix_acl_default";

class Extraction {
 public:
  Extraction(ByteSource& tar, int root, std::string destination, const ExtractOptions& options)
      : reader_(tar, {.allow_sparse = true}),
        root_(root),
        destination_(std::move(destination)),
        options_(options),
        buffer_(256 << 10) {
    if (destination_ == "/") destination_.clear();
  }
  Result<> run();

 private:
  std::string renamed(std::string name) const;
  Result<> add(const Entry& entry);
  Result<bool> clear_way(int dir, const std::string& name, const Entry& entry);
  Result<> make(int dir, const std::string& name, const std::string& path, const Entry& entry);
  Result<> make_file(int dir, const std::string& name, const Entry& entry);
  Result<> make_link(int dir, const std::string& name, const Entry& entry);
  Result<int> parent_dir(const std::string& path);
  Result<std::string> inside(const std::string& name) const;
  sys::Metadata metadata_of(const Entry& entry) const;

  Reader reader_;
  int root_;
  std::string destination_;
  const ExtractOptions& options_;
  std::vector<char> buffer_;
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

// Path below the destination, "" for itself; lexical, as Docker cleans names.
Result<std::string> Extraction::inside(const std::string& name) const {
  std::vector<std::string> parts;
  for (auto& part : split(name, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      parts.push_back(std::move(part));
      continue;
    }
    bool is_rooted = name.starts_with('/');
    if (parts.empty() && !is_rooted)
      return fail(ErrorKind::kInvalid, "%s is outside of %s", json::quote(name).c_str(),
                  json::quote(destination_.empty() ? "/" : destination_).c_str());
    if (!parts.empty()) parts.pop_back();
  }
  return join(parts, "/");
}

sys::Metadata Extraction::metadata_of(const Entry& entry) const {
  sys::Metadata out{.mode = entry.mode, .uid = entry.uid, .gid = entry.gid, .mtime_ns = entry.mtime_ns};
  if (options_.owner) std::tie(out.uid, out.gid) = *options_.owner;
  for (const auto& [name, value] : entry.xattrs) {
    bool is_user = name.starts_with("user.") && !name.starts_with("user.overlay.");
    if (is_user || name == "security.capability" || name.starts_with("system.posix_acl_"))
      out.xattrs.emplace(name, value);
  }
  return out;
}

std::string Extraction::renamed(std::string name) const {
  if (!options_.rename) return name;
  const auto& [from, to] = *options_.rename;
  size_t at = name.find(from);
  return at == name.npos ? name : name.replace(at, from.size(), to);
}

// Missing directories are made as Docker implies them.
Result<int> Extraction::parent_dir(const std::string& path) {
  if (cached_dir_ && path == cached_path_) return cached_dir_.get();
  std::string full = destination_ + "/" + path;
  auto opened = sys::open_in_root(root_, full, O_RDONLY | O_DIRECTORY);
  if (!opened && opened.error().err == ENOENT) {
    std::string at = destination_ + "/";
    for (const auto& part : split(path, '/')) {
      auto parent = TRY(sys::open_in_root(root_, at, O_RDONLY | O_DIRECTORY));
      at += part + "/";
      // A link that leads nowhere is not made true.
      if (mkdirat(parent.get(), part.c_str(), 0755) < 0 && errno != EEXIST)
        return fail_errno("mkdir %s", quoted(at).c_str());
    }
    opened = sys::open_in_root(root_, full, O_RDONLY | O_DIRECTORY);
  }
  cached_dir_ = TRY(std::move(opened));
  cached_path_ = path;
  return cached_dir_.get();
}

// False: the entry is there as it should be.
Result<bool> Extraction::clear_way(int dir, const std::string& name, const Entry& entry) {
  auto st = TRY(sys::stat_at(dir, name));
  if (!st) return true;
  bool was = S_ISDIR(st->st_mode), will = entry.type == EntryType::kDirectory;
  if (options_.keep_kinds && was != will) {
    std::string_view path = entry.path;
    while (path.ends_with('/')) path.remove_suffix(1);
    std::string shown = json::quote(destination_ + "/" + std::string(path));
    return fail(ErrorKind::kInvalid,
                was ? "cannot overwrite directory %s with non-directory %s"
                    : "cannot overwrite non-directory %s with directory %s",
                shown.c_str(), json::quote(destination_.empty() ? "/" : destination_).c_str());
  }
  if (was && will) return false;
  cached_dir_.reset();  // may lie on a path that changes now; `dir` is the caller's own
  TRY(sys::remove_tree_at(dir, name));
  return true;
}

Result<> Extraction::make_file(int dir, const std::string& name, const Entry& entry) {
  UniqueFd fd = TRY(sys::open_at(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  TRY(write_member(reader_, fd.get(), entry.size, buffer_));
  return sys::set_metadata(fd.get(), metadata_of(entry), true);
}

Result<> Extraction::make_link(int dir, const std::string& name, const Entry& entry) {
  std::string target = TRY(inside(renamed(entry.link)));
  if (target.empty())
    return fail(ErrorKind::kInvalid, "invalid hardlink %s -> %s", json::quote(entry.link).c_str(),
                json::quote(name).c_str());
  size_t slash = target.rfind('/');
  std::string parent = slash == target.npos ? "" : target.substr(0, slash);
  auto from = TRY(sys::open_in_root(root_, destination_ + "/" + parent, O_RDONLY | O_DIRECTORY));
  return sys::make_link_at(from.get(), target.substr(slash == target.npos ? 0 : slash + 1), dir, name);
}

Result<> Extraction::make(int dir, const std::string& name, const std::string& path, const Entry& entry) {
  switch (entry.type) {
    case EntryType::kFile: return make_file(dir, name, entry);
    case EntryType::kHardLink: return make_link(dir, name, entry);
    case EntryType::kDirectory: {
      auto st = TRY(sys::stat_at(dir, name));
      if (!st) TRY(sys::make_dir_at(dir, name));
      auto fd = TRY(sys::open_at(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      sys::Metadata metadata = metadata_of(entry);
      Late late{.path = path, .mtime_ns = entry.mtime_ns};
      if (auto acl = metadata.xattrs.extract(kDefaultAcl)) late.default_acl = std::move(acl.mapped());
      late_.push_back(std::move(late));
      return sys::set_metadata(fd.get(), metadata, false);
    }
    case EntryType::kSymlink:
      if (entry.link.empty()) return fail(ErrorKind::kInvalid, "link %s has no target", quoted(entry.path).c_str());
      TRY(sys::make_symlink_at(entry.link, dir, name));
      break;
    case EntryType::kCharDevice:
    case EntryType::kBlockDevice:
    case EntryType::kFifo: {
      uint32_t type = entry.type == EntryType::kFifo         ? S_IFIFO
                      : entry.type == EntryType::kCharDevice ? S_IFCHR
                                                             : S_IFBLK;
      TRY(sys::make_node_at(dir, name, type | 0600, entry.device_major, entry.device_minor));
      break;
    }
  }
  return sys::set_metadata_at(dir, name, metadata_of(entry));
}

Result<> Extraction::add(const Entry& entry) {
  std::string path = TRY(inside(renamed(entry.path)));
  // The destination itself keeps what it is.
  if (path.empty()) return {};
  size_t slash = path.rfind('/');
  std::string name = path.substr(slash == path.npos ? 0 : slash + 1);
  if (name.size() > 255) return fail(ErrorKind::kInvalid, "name %s is longer than 255 bytes", quoted(name).c_str());
  int dir = TRY(parent_dir(slash == path.npos ? "" : path.substr(0, slash)));
  // The cached one may be dropped while this entry is made.
  UniqueFd own = TRY(sys::open_at(dir, ".", O_RDONLY | O_DIRECTORY));
  TRY(clear_way(own.get(), name, entry));
  return make(own.get(), name, path, entry);
}

Result<> Extraction::run() {
  while (auto entry = TRY(reader_.next())) {
    auto done = add(*entry);
    if (!done && done.error().kind == ErrorKind::kInvalid) return done;
    // The container was found, and so was the destination: nothing of this is a 404 or a 409.
    if (!done)
      return fail(ErrorKind::kIo, "extracting %s: %s", quoted(entry->path).c_str(), done.error().message.c_str());
  }
  TRY(reader_.drain());
  for (auto last = late_.rbegin(); last != late_.rend(); ++last) {
    auto dir = sys::open_in_root(root_, destination_ + "/" + last->path, O_RDONLY | O_DIRECTORY);
    if (!dir) continue;
    if (!last->default_acl.empty()) TRY(sys::set_xattr(dir->get(), kDefaultAcl, last->default_acl));
    TRY(sys::set_mtime(dir->get(), last->mtime_ns));
  }
  return {};
}

}  // namespace

Result<> extract_archive(ByteSource& tar, int root, const std::string& destination, const ExtractOptions& options) {
  return Extraction(tar, root, destination, options).run();
}

}  // namespace caisson::tar
