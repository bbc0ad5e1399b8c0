// SPDX-License-Identifier: Apache-2.0
// Compression of rotated log files: in slices, because the monitor has one thread and containers to serve;
// and the way back. The gzip header carries the inode of the plain file, by which readers know it again.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::logs {

class GzipJob {
 public:
  // `target` is made new; it goes away with the job unless take() was called.
  static Result<std::unique_ptr<GzipJob>> begin(const std::string& source, const std::string& target);
  ~GzipJob();
  // Compresses about `bytes` more; true when the target is complete and on disk.
  Result<bool> step(size_t bytes);
  ino_t inode() const { return inode_; }
  void take() { target_.clear(); }

 private:
  GzipJob();
  struct Stream;
  std::unique_ptr<Stream> stream_;
  UniqueFd in_, out_;
  std::string target_;
  ino_t inode_ = 0;
  bool done_ = false;
};

// Inode of the plain file, 0 when the header does not tell.
ino_t plain_inode_of(int gzip_file);
// The whole contents as a nameless file in `directory`. A file that breaks off gives what there is.
Result<UniqueFd> inflate_to_nameless(int gzip_file, const std::string& directory);

}  // namespace caisson::logs
