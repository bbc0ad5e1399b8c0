// SPDX-License-Identifier: Apache-2.0
#include "volume/volume_store.h"

#include <sys/stat.h>

#include "sys/files.h"

namespace caisson::volume {

Result<VolumeStore::Opened> VolumeStore::open_or_create(const std::string& name) {
  if (name.empty() || name.find('/') != std::string::npos || name == "." || name == "..")
    return fail(ErrorKind::kInvalid, "\"%s\" is not a valid volume name", name.c_str());
  Opened opened{path_of(name), false};
  if (sys::path_exists(opened.path)) return opened;
  TRY(sys::make_dirs(root_, 0711));
  TRY(sys::make_dirs(root_ + "/" + name, 0711));
  if (mkdir(opened.path.c_str(), 0755) == 0)
    opened.created = true;
  else if (errno != EEXIST)
    return fail_errno("mkdir '%s'", opened.path.c_str());
  return opened;
}

Result<> VolumeStore::remove(const std::string& name) { return sys::remove_tree(root_ + "/" + name); }

Result<std::vector<std::string>> VolumeStore::list() const {
  if (!sys::path_exists(root_)) return std::vector<std::string>{};
  return sys::list_dir(root_);
}

}  // namespace caisson::volume
