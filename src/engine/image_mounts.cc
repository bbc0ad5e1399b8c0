// SPDX-License-Identifier: Apache-2.0
#include "engine/image_mounts.h"

#include <fcntl.h>
#include <sys/utsname.h>
#include <sys/xattr.h>

#include <algorithm>

#include "base/text.h"
#include "base/unique_fd.h"

namespace caisson::engine {

namespace {

enum class Shows : unsigned char { kNothing, kOnTop, kAlone };  // kAlone: what is below it does not show

bool is_opaque(int dir) {
  char value = 0;
  return fgetxattr(dir, "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

// What one layer has at a path. A link, a file or a whiteout on the way covers the layers below.
Result<Shows> look_into_layer(const std::string& layer, const std::vector<std::string>& path, bool& covers) {
  UniqueFd dir(open(layer.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return fail_errno("open '%s'", layer.c_str());
  bool opaque = false;
  for (const auto& name : path) {
    UniqueFd next(openat(dir.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next) {
      covers = opaque || errno != ENOENT;
      return Shows::kNothing;
    }
    dir = std::move(next);
    opaque = opaque || is_opaque(dir.get());
  }
  covers = opaque;
  return opaque ? Shows::kAlone : Shows::kOnTop;
}

bool takes_layers_one_by_one() {
  utsname name{};
  if (uname(&name) < 0) return false;
  auto parts = split(name.release, '.');
  if (parts.size() < 2) return false;
  uint64_t first = parse_uint(parts[0]).value_or(0), second = parse_uint(parts[1]).value_or(0);
  return first > 6 || (first == 6 && second >= 7);
}

}  // namespace

bool is_local_path(const std::string& path) {
  if (path.empty() || path[0] == '/') return false;
  auto parts = split(path, '/');
  return std::find(parts.begin(), parts.end(), "..") == parts.end();
}

Result<std::vector<std::string>> image_mount_layers(const std::vector<std::string>& layers,
                                                    const std::string& subpath) {
  std::vector<std::string> path;
  for (auto& part : split(subpath, '/'))
    if (!part.empty() && part != ".") path.push_back(std::move(part));
  if (path.empty()) return layers;
  std::vector<std::string> out;
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
    bool covers = false;
    if (TRY(look_into_layer(*layer, path, covers)) != Shows::kNothing) out.push_back(*layer + "/" + join(path, "/"));
    if (covers) break;
  }
  if (out.empty()) return fail(ErrorKind::kInvalid, "the image has no directory '%s'", subpath.c_str());
  std::reverse(out.begin(), out.end());
  return out;
}

spec::OciMount image_mount(const std::string& destination, const std::vector<std::string>& layers) {
  // Overlay takes two directories at least.
  if (layers.size() == 1)
    return {destination, "bind", layers[0], {"bind", "ro", "nosuid", "nodev", "rprivate"}, {}, {}};
  spec::OciMount mount{destination, "overlay", "overlay", {"ro", "nosuid", "nodev"}, {}, {}};
  // COMPAT(linux<6.7): one list, which must fit into a page.
  if (takes_layers_one_by_one()) {
    for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) mount.options.push_back("lowerdir+=" + *layer);
  } else {
    std::vector<std::string> top_first(layers.rbegin(), layers.rend());
    mount.options.push_back("lowerdir=" + join(top_first, ":"));
  }
  return mount;
}

}  // namespace caisson::engine
