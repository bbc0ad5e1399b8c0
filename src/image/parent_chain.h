// SPDX-License-Identifier: Apache-2.0
// Read-only lookup in the unpacked layers below one, topmost first, as overlay would show them: whiteouts
// and opaque directories hide what is below. No link is ever followed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/nodes.h"

namespace caisson::image {

class ParentChain {
 public:
  // Layer directories, base first.
  static Result<ParentChain> open(const std::vector<std::string>& directories);

  struct Found {
    UniqueFd dir;  // directory that holds the entry
    std::string name;
    sys::FileStat st;
  };
  Result<std::optional<Found>> find(const std::vector<std::string>& path) const;
  bool empty() const { return layers_.empty(); }

 private:
  std::vector<UniqueFd> layers_;  // topmost first
};

}  // namespace caisson::image
