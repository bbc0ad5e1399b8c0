// SPDX-License-Identifier: Apache-2.0
#include "sys/files.h"

#include <dirent.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <set>

#include "base/ids.h"
#include "base/text.h"

namespace caisson::sys {

Result<UniqueFd> open_file(const std::string& path, int flags, mode_t mode) {
  return open_at(AT_FDCWD, path, flags, mode);
}

Result<UniqueFd> open_at(int dir, const std::string& path, int flags, mode_t mode) {
  int fd;
  do {
    fd = openat(dir, path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return fail_errno("open '%s'", path.c_str());
  return UniqueFd(fd);
}

Result<UniqueFd> open_in_root(int root, const std::string& path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.mode = mode;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: a rename raced with a ".." lookup; the kernel asks to try again (openat2(2)).
  for (int attempt = 0;; ++attempt) {
    long fd = syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    if ((errno == EAGAIN || errno == EINTR) && attempt < 128) continue;
    return fail_errno("openat2 %s", quoted(path).c_str());
  }
}

Result<std::string> read_fd(int fd, size_t limit) {
  std::string out;
  struct stat st {};
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && static_cast<size_t>(st.st_size) <= limit)
    out.reserve(static_cast<size_t>(st.st_size) + 1);
  char buffer[16384];
  while (true) {
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0) {
      if (errno == EINTR) continue;
      return fail_errno("read");
    }
    if (got == 0) return out;
    if (out.size() + static_cast<size_t>(got) > limit)
      return fail(ErrorKind::kExhausted, "read: larger than the limit of %zu bytes", limit);
    out.append(buffer, static_cast<size_t>(got));
  }
}

Result<std::string> read_file(const std::string& path, size_t limit) {
  auto fd = TRY(open_file(path, O_RDONLY));
  return TRY_CTX(read_fd(fd.get(), limit), "'" + path + "'");
}

Result<> write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    ssize_t done = write(fd, data.data(), data.size());
    if (done < 0) {
      if (errno == EINTR) continue;
      return fail_errno("write");
    }
    data.remove_prefix(static_cast<size_t>(done));
  }
  return {};
}

static Result<> write_once(int fd, std::string_view data, const std::string& path) {
  ssize_t done;
  do {
    done = write(fd, data.data(), data.size());
  } while (done < 0 && errno == EINTR);
  if (done < 0) return fail_errno("write '%s'", path.c_str());
  if (static_cast<size_t>(done) < data.size()) {
    auto rest = write_all(fd, data.substr(static_cast<size_t>(done)));
    if (!rest) return with_context(rest.error(), "'" + path + "'");
  }
  return {};
}

Result<> write_file(const std::string& path, std::string_view data, mode_t mode) {
  auto fd = TRY(open_file(path, O_WRONLY | O_CREAT | O_TRUNC, mode));
  return write_once(fd.get(), data, path);
}

Result<> write_file_at(int dir, const std::string& path, std::string_view data) {
  auto fd = TRY(open_at(dir, path, O_WRONLY));
  return write_once(fd.get(), data, path);
}

Result<> replace_file(const std::string& path, std::string_view data, mode_t mode, bool sync) {
  std::string temporary = path + ".tmp-" + random_hex(8);
  auto write_temporary = [&]() -> Result<> {
    auto fd = TRY(open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, mode));
    TRY(write_once(fd.get(), data, temporary));
    if (sync && fsync(fd.get()) < 0) return fail_errno("fsync '%s'", temporary.c_str());
    if (rename(temporary.c_str(), path.c_str()) < 0) return fail_errno("rename '%s'", path.c_str());
    return {};
  };
  auto done = write_temporary();
  if (!done) {
    unlink(temporary.c_str());
    return done;
  }
  if (sync) {
    size_t slash = path.rfind('/');
    auto dir = TRY(open_file(slash == std::string::npos ? "."
                             : slash == 0               ? "/"
                                                        : path.substr(0, slash),
                             O_RDONLY | O_DIRECTORY));
    if (fsync(dir.get()) < 0) return fail_errno("fsync the directory of '%s'", path.c_str());
  }
  return {};
}

Result<> make_dirs(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) == 0) return {};
  if (errno == ENOENT) {
    size_t slash = path.rfind('/');
    if (slash == std::string::npos || slash == 0) return fail_errno("mkdir '%s'", path.c_str());
    TRY(make_dirs(path.substr(0, slash), mode));
    if (mkdir(path.c_str(), mode) == 0) return {};
  }
  if (errno != EEXIST) return fail_errno("mkdir '%s'", path.c_str());
  struct stat st {};
  if (stat(path.c_str(), &st) < 0) return fail_errno("stat '%s'", path.c_str());
  if (!S_ISDIR(st.st_mode)) return fail_errno_of(ENOTDIR, "mkdir '%s'", path.c_str());
  return {};
}

namespace {
struct CloseDir {
  void operator()(DIR* dir) const { closedir(dir); }
};
using DirHandle = std::unique_ptr<DIR, CloseDir>;

DirHandle open_dir_handle(int dir, const char* name) {
  int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return nullptr;
  DIR* handle = fdopendir(fd);
  if (!handle) close(fd);
  return DirHandle(handle);
}

bool is_dots(const char* name) { return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0')); }

// A tree may be thousands of levels deep and a caller's stack small: one frame and one descriptor for
// each level would run into their limits, so a directory found this deep is moved up to the top first.
constexpr int kMaxDepth = 64;

Result<> remove_below(int top, int dir, const char* name, int depth);

Result<> remove_directory(int top, int dir, const char* name, int depth) {
  DirHandle handle = open_dir_handle(dir, name);
  if (!handle) return fail_errno("open directory %s", quoted(name).c_str());
  while (dirent* entry = readdir(handle.get())) {
    if (is_dots(entry->d_name)) continue;
    if (auto removed = remove_below(top, dirfd(handle.get()), entry->d_name, depth + 1); !removed) return removed;
  }
  if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT) return fail_errno("rmdir %s", quoted(name).c_str());
  return {};
}

Result<> remove_below(int top, int dir, const char* name, int depth) {
  if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM && errno != EACCES) return fail_errno("unlink %s", quoted(name).c_str());
  if (depth <= kMaxDepth) return remove_directory(top, dir, name, depth);
  std::string moved = ".deep-" + random_hex(12);
  if (renameat(dir, name, top, moved.c_str()) < 0) return fail_errno("rename %s", quoted(name).c_str());
  // Not from here: the one who called us from the top takes it from there, on a shallow stack.
  return {};
}

// What remove_below moved up may have deep parts itself; each round takes kMaxDepth levels off.
Result<> remove_moved(int top) {
  while (true) {
    std::vector<std::string> moved;
    {
      DirHandle handle = open_dir_handle(top, ".");
      if (!handle) return fail_errno("open directory");
      while (dirent* entry = readdir(handle.get()))
        if (std::string_view(entry->d_name).starts_with(".deep-")) moved.emplace_back(entry->d_name);
    }
    if (moved.empty()) return {};
    for (const auto& name : moved) TRY(remove_below(top, top, name.c_str(), 0));
  }
}
}  // namespace

Result<> remove_tree_at(int dir, const std::string& name) {
  struct stat st {};
  bool is_directory = fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
  if (!is_directory) return remove_below(dir, dir, name.c_str(), 0);
  // Deep parts are moved up to this directory, not out of it: nobody else's names are touched.
  {
    UniqueFd top(openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!top) return fail_errno("open directory %s", quoted(name).c_str());
    DirHandle handle = open_dir_handle(top.get(), ".");
    if (!handle) return fail_errno("open directory %s", quoted(name).c_str());
    while (dirent* entry = readdir(handle.get()))
      if (!is_dots(entry->d_name)) TRY(remove_below(top.get(), top.get(), entry->d_name, 0));
    TRY(remove_moved(top.get()));
  }
  if (unlinkat(dir, name.c_str(), AT_REMOVEDIR) < 0 && errno != ENOENT)
    return fail_errno("rmdir %s", quoted(name).c_str());
  return {};
}

Result<> remove_tree(const std::string& path) {
  size_t slash = path.rfind('/');
  std::string parent = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  auto dir = open_file(parent, O_RDONLY | O_DIRECTORY);
  if (!dir) {
    if (dir.error().err == ENOENT) return {};
    return std::unexpected(dir.error());
  }
  TRY_CTX(remove_tree_at(dir->get(), path.substr(slash == std::string::npos ? 0 : slash + 1)),
          "removing '" + path + "'");
  return {};
}

Result<> remove_file(const std::string& path) {
  if (unlink(path.c_str()) < 0 && errno != ENOENT) return fail_errno("unlink '%s'", path.c_str());
  return {};
}

Result<std::vector<std::string>> list_dir(const std::string& path) {
  DirHandle handle(opendir(path.c_str()));
  if (!handle) return fail_errno("open directory '%s'", path.c_str());
  std::vector<std::string> out;
  while (dirent* entry = readdir(handle.get()))
    if (!is_dots(entry->d_name)) out.emplace_back(entry->d_name);
  return out;
}

bool path_exists(const std::string& path) { return faccessat(AT_FDCWD, path.c_str(), F_OK, 0) == 0; }

// Asked without waking the file system: one that does not answer must not be stepped into.
static bool is_mount_root(int dir, const char* name) {
  struct statx facts {};
  if (statx(dir, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, 0, &facts) < 0) return false;
  return (facts.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

Result<TreeSize> tree_size(const std::string& path) {
  // An explicit stack of open directories: no recursion, whatever the depth. Beyond this many levels one
  // descriptor for each would be too many; what lies deeper is not counted.
  constexpr size_t kMaxLevels = 400;
  TreeSize size;
  std::set<std::pair<dev_t, ino_t>> seen;
  std::vector<DirHandle> open_dirs;
  auto visit = [&](int dir, const char* name) -> Result<> {
    if (is_mount_root(dir, name)) return {};
    struct stat st {};
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
      if (errno == ENOENT) return {};
      return fail_errno("stat %s", quoted(name).c_str());
    }
    ++size.entries;
    if (S_ISREG(st.st_mode) && (st.st_nlink == 1 || seen.insert({st.st_dev, st.st_ino}).second))
      size.bytes += static_cast<uint64_t>(st.st_size);
    if (!S_ISDIR(st.st_mode) || open_dirs.size() >= kMaxLevels) return {};
    if (DirHandle handle = open_dir_handle(dir, name)) open_dirs.push_back(std::move(handle));
    return {};
  };
  TRY(visit(AT_FDCWD, path.c_str()));
  while (!open_dirs.empty()) {
    DIR* current = open_dirs.back().get();
    dirent* entry = readdir(current);
    if (!entry) {
      open_dirs.pop_back();
      continue;
    }
    if (!is_dots(entry->d_name)) TRY(visit(dirfd(current), entry->d_name));
  }
  return size;
}

Result<std::string> program_dir() {
  char buffer[4096];
  ssize_t size = readlink("/proc/self/exe", buffer, sizeof buffer);
  if (size < 0) return fail_errno("readlink '/proc/self/exe'");
  std::string path(buffer, static_cast<size_t>(size));
  return path.substr(0, path.rfind('/'));
}

Result<size_t> FdSource::read(std::span<char> buffer) {
  while (true) {
    ssize_t got = ::read(fd_, buffer.data(), buffer.size());
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) return fail_errno("read");
  }
}

}  // namespace caisson::sys
