// SPDX-License-Identifier: Apache-2.0
// Tells when a file is written or replaced, also through links: each directory on the way from the name to the file
// is watched, as what a link leads to may be replaced without the link being touched. Not thread-safe.
#pragma once

#include <map>
#include <set>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::sys {

class FileWatch {
 public:
  // The directory of `path` must be there; what a link in it leads to need not.
  static Result<FileWatch> open(std::string path);

  int fd() const { return inotify_.get(); }  // readable when something happened near the file; for an event loop
  // Reads what happened: true when the file may be another one now. Does not block.
  bool changed();

 private:
  FileWatch(std::string path, UniqueFd inotify) : path_(std::move(path)), inotify_(std::move(inotify)) {}
  Result<> look();

  std::string path_;
  UniqueFd inotify_;
  // Names that matter in each watched directory; "" for the file itself.
  std::map<int, std::set<std::string>> watched_;
};

}  // namespace caisson::sys
