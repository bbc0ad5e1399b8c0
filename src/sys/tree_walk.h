// SPDX-License-Identifier: Apache-2.0
// Walks a directory tree in the order of its names, parents before children, never through a link. For trees
// that others may be changing meanwhile: what vanishes is passed over.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/nodes.h"

namespace caisson::sys {

class TreeWalk {
 public:
  struct Entry {
    int dir = -1;      // of the directory that holds it; valid until the next next()
    std::string name;  // its name there
    std::string path;  // from the start: "etc/hosts"
    FileStat st{};
  };
  struct Options {
    bool one_mount = false;  // other mounts' roots are told, but not entered
  };

  // `dir` is a directory fd that can be read. It is not told itself.
  static Result<TreeWalk> open(UniqueFd dir, Options options);
  // False at the end. kInvalid when directories lie too deep inside each other.
  Result<bool> next(Entry& entry);
  // The children of the entry that next() gave last are left out.
  void skip_children() { enter_ = false; }

 private:
  struct Level {
    UniqueFd dir;
    std::vector<std::string> names;  // sorted backwards: the next one is last
    std::string path;
  };
  TreeWalk() = default;
  Result<> push(UniqueFd dir, std::string path);

  std::vector<Level> levels_;
  Options options_;
  uint64_t mount_ = 0;
  bool enter_ = false;
  std::string last_name_, last_path_;
};

}  // namespace caisson::sys
