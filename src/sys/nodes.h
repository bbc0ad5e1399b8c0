// SPDX-License-Identifier: Apache-2.0
// Single entries of a directory tree, by directory fd and name, final links never followed: making them,
// their owner, mode, times and extended attributes. What unpacking and copying of layers is built on.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::sys {

struct Metadata {
  uint32_t mode = 0755;  // permission bits with setuid, setgid, sticky
  uint32_t uid = 0, gid = 0;
  int64_t mtime_ns = 0;
  std::map<std::string, std::string> xattrs;
};

using FileStat = struct stat;

// nullopt when there is no such entry.
Result<std::optional<FileStat>> stat_at(int dir, const std::string& name);
// `path` looked up as if `root` were "/". The final link is followed only where a slash or "/." stands behind it.
Result<FileStat> stat_in_root(int root, const std::string& path);
Result<> make_dir_at(int dir, const std::string& name);
Result<> make_symlink_at(const std::string& target, int dir, const std::string& name);
Result<> make_link_at(int old_dir, const std::string& old_name, int dir, const std::string& name);
// `mode` holds the S_IF type too.
Result<> make_node_at(int dir, const std::string& name, uint32_t mode, uint32_t major, uint32_t minor);
Result<std::string> read_link_at(int dir, const std::string& name);

// Owner first, as chown clears setuid bits and capabilities; then mode, xattrs, and the time if `with_time`.
// A user.* attribute that the file system refuses is left out.
Result<> set_metadata(int fd, const Metadata& metadata, bool with_time);
Result<> set_metadata_at(int dir, const std::string& name, const Metadata& metadata);  // links, devices, FIFOs
Result<> set_mtime(int fd, int64_t mtime_ns);

Result<> set_xattr(int fd, const std::string& name, const std::string& value);
// "" also for an absent attribute.
Result<std::string> get_xattr(int fd, const std::string& name);
Result<std::map<std::string, std::string>> list_xattrs_at(int dir, const std::string& name);

// Overlay's marks: a deleted entry, a directory that hides the lower one.
inline constexpr const char* kOpaqueXattr = "trusted.overlay.opaque";
bool is_whiteout(const FileStat& st);
Result<bool> is_opaque(int dir);

// Everything written to the file system of `fd` so far is on disk.
Result<> sync_file_system(int fd);

}  // namespace caisson::sys
