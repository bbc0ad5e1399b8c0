// SPDX-License-Identifier: Apache-2.0
#include "image/parent_chain.h"

#include <fcntl.h>

#include "sys/files.h"

namespace caisson::image {

Result<ParentChain> ParentChain::open(const std::vector<std::string>& directories) {
  ParentChain chain;
  for (auto directory = directories.rbegin(); directory != directories.rend(); ++directory)
    chain.layers_.push_back(TRY(sys::open_file(*directory, O_RDONLY | O_DIRECTORY)));
  return chain;
}

Result<std::optional<ParentChain::Found>> ParentChain::find(const std::vector<std::string>& path) const {
  if (path.empty()) return std::nullopt;
  for (const UniqueFd& layer : layers_) {
    UniqueFd dir = TRY(sys::open_at(layer.get(), ".", O_RDONLY | O_DIRECTORY));
    bool hides_lower = false;
    for (size_t i = 0; i < path.size(); ++i) {
      auto st = TRY(sys::stat_at(dir.get(), path[i]));
      if (!st) break;
      if (sys::is_whiteout(*st)) return std::nullopt;
      if (i + 1 == path.size()) return Found{std::move(dir), path[i], *st};
      if (!S_ISDIR(st->st_mode)) return std::nullopt;
      dir = TRY(sys::open_at(dir.get(), path[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      if (TRY(sys::is_opaque(dir.get()))) hides_lower = true;
    }
    if (hides_lower) return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace caisson::image
