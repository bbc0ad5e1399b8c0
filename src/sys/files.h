// SPDX-License-Identifier: Apache-2.0
// Files and directories: whole-file reads and writes, durable replacement, confined lookup, removal.
// Blocking. Errors carry the path, so callers add only what they were doing.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::sys {

// open(2) with O_CLOEXEC added.
Result<UniqueFd> open_file(const std::string& path, int flags, mode_t mode = 0);
Result<UniqueFd> open_at(int dir, const std::string& path, int flags, mode_t mode = 0);

// openat2(2) with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS: `path` is looked up as if `root` were "/",
// whatever links it meets. For every path that comes from an image, a container or an archive.
Result<UniqueFd> open_in_root(int root, const std::string& path, int flags, mode_t mode = 0);

// The whole file; kExhausted when it is larger than `limit`.
Result<std::string> read_file(const std::string& path, size_t limit = 16 << 20);
Result<std::string> read_fd(int fd, size_t limit = 16 << 20);
Result<> write_all(int fd, std::string_view data);
// Plain write into an existing or new file; for cgroup and proc files too (one write call).
Result<> write_file(const std::string& path, std::string_view data, mode_t mode = 0644);
Result<> write_file_at(int dir, const std::string& path, std::string_view data);
// Temporary file, optionally fsync, rename over `path`: readers see old or new, never half.
Result<> replace_file(const std::string& path, std::string_view data, mode_t mode = 0644, bool sync = false);

// mkdir -p; existing directories keep their mode.
Result<> make_dirs(const std::string& path, mode_t mode = 0755);
// Removes a whole tree without following links or crossing into mounts' names; absent is success.
Result<> remove_tree(const std::string& path);
Result<> remove_tree_at(int dir, const std::string& name);
Result<> remove_file(const std::string& path);  // absent is success
// Names without "." and "..", unsorted.
Result<std::vector<std::string>> list_dir(const std::string& path);
bool path_exists(const std::string& path);
// Bytes of regular files and number of entries below `path`, hard links counted once; what is mounted there is left
// out.
struct TreeSize {
  uint64_t bytes = 0;
  uint64_t entries = 0;
};
Result<TreeSize> tree_size(const std::string& path);

// Directory of the running program, from /proc/self/exe: where sibling programs lie.
Result<std::string> program_dir();

class FdSource : public ByteSource {
 public:
  explicit FdSource(int fd) : fd_(fd) {}
  Result<size_t> read(std::span<char> buffer) override;

 private:
  int fd_;
};

class FdSink : public ByteSink {
 public:
  explicit FdSink(int fd) : fd_(fd) {}
  Result<> write(std::string_view data) override { return write_all(fd_, data); }

 private:
  int fd_;
};

}  // namespace caisson::sys
