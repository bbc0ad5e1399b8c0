// SPDX-License-Identifier: Apache-2.0
#include "sys/nodes.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "sys/files.h"

namespace caisson::sys {

constexpr size_t kMaxXattr = 64 << 10;  // XATTR_SIZE_MAX and XATTR_LIST_MAX

// The xattr calls have no *at forms; a path through our own descriptor is one, and its last part is not
// followed by the l-variants.
static std::string path_through_fd(int dir, const std::string& name) {
  return "/proc/self/fd/" + std::to_string(dir) + "/" + name;
}

static timespec to_timespec(int64_t ns) {
  timespec out{};
  out.tv_sec = ns / 1'000'000'000;
  out.tv_nsec = ns % 1'000'000'000;
  if (out.tv_nsec < 0) {
    out.tv_nsec += 1'000'000'000;
    --out.tv_sec;
  }
  return out;
}

Result<std::optional<FileStat>> stat_at(int dir, const std::string& name) {
  FileStat st{};
  if (fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) return st;
  if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
  return fail_errno("stat %s", quoted(name).c_str());
}

Result<FileStat> stat_in_root(int root, const std::string& path) {
  bool wants_directory = path.ends_with('/') || path.ends_with("/.");
  auto fd = TRY(open_in_root(root, path, wants_directory ? O_PATH | O_DIRECTORY : O_PATH | O_NOFOLLOW));
  FileStat st{};
  if (fstat(fd.get(), &st) < 0) return fail_errno("stat %s", quoted(path).c_str());
  return st;
}

Result<> make_dir_at(int dir, const std::string& name) {
  if (mkdirat(dir, name.c_str(), 0700) < 0) return fail_errno("mkdir %s", quoted(name).c_str());
  return {};
}

Result<> make_symlink_at(const std::string& target, int dir, const std::string& name) {
  if (symlinkat(target.c_str(), dir, name.c_str()) < 0) return fail_errno("symlink %s", quoted(name).c_str());
  return {};
}

Result<> make_link_at(int old_dir, const std::string& old_name, int dir, const std::string& name) {
  if (linkat(old_dir, old_name.c_str(), dir, name.c_str(), 0) < 0) return fail_errno("link %s", quoted(name).c_str());
  return {};
}

Result<> make_node_at(int dir, const std::string& name, uint32_t mode, uint32_t major_number, uint32_t minor_number) {
  if (mknodat(dir, name.c_str(), mode, makedev(major_number, minor_number)) < 0)
    return fail_errno("mknod %s", quoted(name).c_str());
  return {};
}

Result<std::string> read_link_at(int dir, const std::string& name) {
  char buffer[4096];
  ssize_t size = readlinkat(dir, name.c_str(), buffer, sizeof buffer);
  if (size < 0) return fail_errno("readlink %s", quoted(name).c_str());
  return std::string(buffer, static_cast<size_t>(size));
}

static Result<> xattr_failure(const std::string& name) {
  int err = errno;
  if ((err == ENOTSUP || err == EPERM) && name.starts_with("user.")) {
    log_debug("setting attribute %s: %s, ignoring", quoted(name).c_str(), errno_text(err).c_str());
    return {};
  }
  return fail_errno_of(err, "set attribute %s", quoted(name).c_str());
}

Result<> set_metadata(int fd, const Metadata& metadata, bool with_time) {
  if (fchown(fd, metadata.uid, metadata.gid) < 0) return fail_errno("chown");
  if (fchmod(fd, metadata.mode & 07777) < 0) return fail_errno("chmod");
  for (const auto& [name, value] : metadata.xattrs)
    if (fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) < 0) TRY(xattr_failure(name));
  if (with_time) TRY(set_mtime(fd, metadata.mtime_ns));
  return {};
}

Result<> set_metadata_at(int dir, const std::string& name, const Metadata& metadata) {
  if (fchownat(dir, name.c_str(), metadata.uid, metadata.gid, AT_SYMLINK_NOFOLLOW) < 0)
    return fail_errno("chown %s", quoted(name).c_str());
  FileStat st{};
  if (fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0) return fail_errno("stat %s", quoted(name).c_str());
  // A link has no mode of its own, and fchmodat would follow it.
  if (!S_ISLNK(st.st_mode) && fchmodat(dir, name.c_str(), metadata.mode & 07777, 0) < 0)
    return fail_errno("chmod %s", quoted(name).c_str());
  if (!metadata.xattrs.empty()) {
    std::string path = path_through_fd(dir, name);
    for (const auto& [key, value] : metadata.xattrs)
      if (lsetxattr(path.c_str(), key.c_str(), value.data(), value.size(), 0) < 0) TRY(xattr_failure(key));
  }
  timespec times[2] = {to_timespec(metadata.mtime_ns), to_timespec(metadata.mtime_ns)};
  if (utimensat(dir, name.c_str(), times, AT_SYMLINK_NOFOLLOW) < 0)
    return fail_errno("utimensat %s", quoted(name).c_str());
  return {};
}

Result<> set_mtime(int fd, int64_t mtime_ns) {
  timespec times[2] = {to_timespec(mtime_ns), to_timespec(mtime_ns)};
  if (futimens(fd, times) < 0) return fail_errno("futimens");
  return {};
}

Result<> set_xattr(int fd, const std::string& name, const std::string& value) {
  if (fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) < 0)
    return fail_errno("set attribute '%s'", name.c_str());
  return {};
}

Result<std::string> get_xattr(int fd, const std::string& name) {
  std::string value(256, '\0');
  ssize_t size = fgetxattr(fd, name.c_str(), value.data(), value.size());
  if (size < 0 && errno == ERANGE) {
    value.resize(kMaxXattr);
    size = fgetxattr(fd, name.c_str(), value.data(), value.size());
  }
  if (size < 0) {
    if (errno == ENODATA || errno == ENOTSUP) return std::string();
    return fail_errno("get attribute '%s'", name.c_str());
  }
  value.resize(static_cast<size_t>(size));
  return value;
}

Result<std::map<std::string, std::string>> list_xattrs_at(int dir, const std::string& entry) {
  std::string path = path_through_fd(dir, entry);
  std::map<std::string, std::string> out;
  std::string names(1024, '\0');
  ssize_t size = llistxattr(path.c_str(), names.data(), names.size());
  if (size < 0 && errno == ERANGE) {
    names.resize(kMaxXattr);
    size = llistxattr(path.c_str(), names.data(), names.size());
  }
  if (size < 0) {
    if (errno == ENOTSUP) return out;
    return fail_errno("list attributes of %s", quoted(entry).c_str());
  }
  names.resize(static_cast<size_t>(size));
  for (const std::string& name : split(names, '\0')) {
    if (name.empty()) continue;
    std::string value(kMaxXattr, '\0');
    ssize_t got = lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    if (got < 0) {
      if (errno == ENODATA) continue;
      return fail_errno("get attribute %s of %s", quoted(name).c_str(), quoted(entry).c_str());
    }
    value.resize(static_cast<size_t>(got));
    out.emplace(name, std::move(value));
  }
  return out;
}

bool is_whiteout(const FileStat& st) { return S_ISCHR(st.st_mode) && st.st_rdev == 0; }

Result<bool> is_opaque(int dir) { return TRY(get_xattr(dir, kOpaqueXattr)) == "y"; }

Result<> sync_file_system(int fd) {
  if (syncfs(fd) < 0) return fail_errno("syncfs");
  return {};
}

}  // namespace caisson::sys
