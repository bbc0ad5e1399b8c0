// SPDX-License-Identifier: Apache-2.0
// Local volumes: a directory each under <root>/<name>/_data. What exists is what the disk says.
// Thread-safe as far as the file system is: every call is one or two system calls.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace caisson::volume {

class VolumeStore {
 public:
  explicit VolumeStore(std::string root) : root_(std::move(root)) {}

  // Path of the data directory, made if it is not there; `created` tells which.
  struct Opened {
    std::string path;
    bool created = false;
  };
  Result<Opened> open_or_create(const std::string& name);
  std::string path_of(const std::string& name) const { return root_ + "/" + name + "/_data"; }
  Result<> remove(const std::string& name);  // absent is success
  Result<std::vector<std::string>> list() const;

 private:
  std::string root_;
};

}  // namespace caisson::volume
