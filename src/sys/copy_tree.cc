// SPDX-License-Identifier: Apache-2.0
#include "sys/copy_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <memory>
#include <string>

#include "base/text.h"
#include "base/unique_fd.h"

namespace caisson::sys {

namespace {

// Each level costs a frame and four descriptors; deeper content of an image is refused, not cut.
constexpr int kMaxCopyDepth = 100;

struct CloseCopyDir {
  void operator()(DIR* dir) const { closedir(dir); }
};

Result<> copy_attributes(int from, int to) {
  std::string list(16384, '\0');
  ssize_t size = flistxattr(from, list.data(), list.size());
  const char* names = list.data();
  if (size < 0) return errno == EOPNOTSUPP ? Result<>{} : fail_errno("flistxattr");
  for (const char* name = names; name < names + size; name += strlen(name) + 1) {
    // Overlay's own marks mean nothing outside of a layer.
    if (std::string_view(name).starts_with("trusted.")) continue;
    std::string value(65536, '\0');
    ssize_t got = fgetxattr(from, name, value.data(), value.size());
    if (got < 0) continue;
    if (fsetxattr(to, name, value.data(), static_cast<size_t>(got), 0) < 0 && errno != EOPNOTSUPP)
      return fail_errno("fsetxattr '%s'", name);
  }
  return {};
}

Result<> copy_metadata(int from, int to) {
  struct stat st {};
  if (fstat(from, &st) < 0) return fail_errno("fstat");
  // The owner first: chown takes set-id bits and file capabilities away.
  if (fchown(to, st.st_uid, st.st_gid) < 0) return fail_errno("fchown");
  if (fchmod(to, st.st_mode & 07777) < 0) return fail_errno("fchmod");
  TRY(copy_attributes(from, to));
  timespec times[2] = {st.st_atim, st.st_mtim};
  if (futimens(to, times) < 0) return fail_errno("futimens");
  return {};
}

Result<> copy_data(int from, int to) {
  while (true) {
    ssize_t done = copy_file_range(from, nullptr, to, nullptr, 1 << 30, 0);
    if (done == 0) return {};
    if (done > 0 || errno == EINTR) continue;
    if (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP) return fail_errno("copy_file_range");
    break;
  }
  // COMPAT: file systems without it (overlay on some kernels).
  std::string storage(65536, '\0');
  char* buffer = storage.data();
  while (true) {
    ssize_t got = read(from, buffer, storage.size());
    if (got == 0) return {};
    if (got < 0) return fail_errno("read");
    for (ssize_t at = 0; at < got;) {
      ssize_t put = write(to, buffer + at, static_cast<size_t>(got - at));
      if (put < 0) return fail_errno("write");
      at += put;
    }
  }
}

Result<> copy_entries(int from, int to, int depth);

Result<> copy_entry(int from, int to, const char* name, int depth) {
  struct stat st {};
  if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return fail_errno("stat %s", quoted(name).c_str());
  auto exists = [] { return errno == EEXIST; };
  if (S_ISLNK(st.st_mode)) {
    std::string target(PATH_MAX, '\0');
    ssize_t size = readlinkat(from, name, target.data(), target.size() - 1);
    if (size < 0) return fail_errno("readlink %s", quoted(name).c_str());
    if (symlinkat(target.c_str(), to, name) < 0)
      return exists() ? Result<>{} : fail_errno("symlink %s", quoted(name).c_str());
    if (fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
      return fail_errno("chown %s", quoted(name).c_str());
    timespec times[2] = {st.st_atim, st.st_mtim};
    utimensat(to, name, times, AT_SYMLINK_NOFOLLOW);
    return {};
  }
  if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
    if (mknodat(to, name, st.st_mode, st.st_rdev) < 0)
      return exists() ? Result<>{} : fail_errno("mknod %s", quoted(name).c_str());
    if (fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
      return fail_errno("chown %s", quoted(name).c_str());
    return {};
  }
  if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) return {};
  bool is_dir = S_ISDIR(st.st_mode);
  UniqueFd source(openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (is_dir ? O_DIRECTORY : O_NONBLOCK)));
  if (!source) return fail_errno("open %s", quoted(name).c_str());
  if (is_dir) {
    if (mkdirat(to, name, 0700) < 0) return exists() ? Result<>{} : fail_errno("mkdir %s", quoted(name).c_str());
    UniqueFd target(openat(to, name, O_RDONLY | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC));
    if (!target) return fail_errno("open %s", quoted(name).c_str());
    TRY(copy_entries(source.get(), target.get(), depth + 1));
    return copy_metadata(source.get(), target.get());
  }
  UniqueFd target(openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!target) return exists() ? Result<>{} : fail_errno("create %s", quoted(name).c_str());
  TRY(copy_data(source.get(), target.get()));
  return copy_metadata(source.get(), target.get());
}

Result<> copy_entries(int from, int to, int depth) {
  if (depth > kMaxCopyDepth)
    return fail(ErrorKind::kInvalid, "more than %d directories inside each other", kMaxCopyDepth);
  int again = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (again < 0) return fail_errno("open directory");
  std::unique_ptr<DIR, CloseCopyDir> dir(fdopendir(again));
  if (!dir) {
    close(again);
    return fail_errno("fdopendir");
  }
  while (dirent* entry = readdir(dir.get())) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") TRY(copy_entry(from, to, entry->d_name, depth));
  }
  return {};
}

}  // namespace

Result<> copy_tree(int from, int to) {
  TRY(copy_entries(from, to, 0));
  return copy_metadata(from, to);
}

}  // namespace caisson::sys
