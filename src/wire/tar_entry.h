// SPDX-License-Identifier: Apache-2.0
// One member of a tar archive, as reader and writer exchange it with their callers.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace caisson::tar {

enum class EntryType : unsigned char { kFile, kHardLink, kSymlink, kCharDevice, kBlockDevice, kDirectory, kFifo };

struct Entry {
  EntryType type = EntryType::kFile;
  std::string path;      // as in the archive: may be absolute, hold "..", end in "/"
  std::string link;      // target of hard and symbolic links
  uint32_t mode = 0644;  // permission bits and setuid, setgid, sticky
  uint32_t uid = 0, gid = 0;
  int64_t mtime_ns = 0;  // since 1970
  uint64_t size = 0;     // of kFile; 0 for all others
  uint32_t device_major = 0, device_minor = 0;
  std::map<std::string, std::string> xattrs;
};

}  // namespace caisson::tar
