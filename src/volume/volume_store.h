// SPDX-License-Identifier: Apache-2.0
// Local volumes: a directory each, <root>/<name>/_data, with <root>/<name>/volume.json beside it (when it was made,
// its labels). What exists is what the disk says. Thread-safe. Blocking (disk).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace caisson::volume {

struct Volume {
  std::string name, mountpoint;
  int64_t created_ns = 0;  // since 1970
  std::map<std::string, std::string> labels;
};

// Docker's rule: a letter or digit, then those and "_.-", two characters at least. At most 255 bytes.
bool is_valid_name(std::string_view name);

class VolumeStore {
 public:
  // Removed volumes are moved to <trash>/rm-* before they are deleted; the engine clears those at its start.
  VolumeStore(std::string root, std::string trash);

  // The volume, made if it is not there (then on disk before this returns); `created` tells which. While `hold` lives
  // remove_unused() leaves it alone: for containers whose record is not written yet.
  struct Opened {
    std::string path;
    bool created = false;
    std::shared_ptr<void> hold;
  };
  Result<Opened> open_or_create(const std::string& name, const std::map<std::string, std::string>& labels = {});
  std::string path_of(const std::string& name) const { return root_ + "/" + name + "/_data"; }
  Result<Volume> find(const std::string& name) const;  // kNotFound
  Result<std::vector<Volume>> list() const;            // by name
  Result<> remove(const std::string& name);            // absent is success
  // kNotFound; kConflict with Docker's text when `user_of` names a container, or one is being made with it.
  Result<> remove_unused(const std::string& name, const std::function<std::string(const std::string&)>& user_of);

 private:
  Result<std::string> make_draft(const std::map<std::string, std::string>& labels);
  static void discard(const std::string& draft);
  std::shared_ptr<void> take_hold(const std::string& name);
  Result<std::string> detach(const std::string& name);

  std::string root_, trash_;
  struct Holds;
  std::shared_ptr<Holds> holds_;  // outlives the store in holds that were handed out
};

}  // namespace caisson::volume
