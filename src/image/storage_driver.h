// SPDX-License-Identifier: Apache-2.0
// Which storage driver a data root gets: what was asked for, what it was used with before, what its file system can.
#pragma once

#include <string>

#include "base/result.h"

namespace caisson::image {

// "overlay2" or "vfs". `asked` is "" for the best one: overlay2, and vfs where overlay does not work (on an overlay, on
// file systems without names for whiteouts). kUnsupported: what was asked for cannot work here, and why; kConflict: the
// data root has containers of the other driver.
Result<std::string> choose_storage_driver(const std::string& root, const std::string& asked, bool has_containers);

// Does overlay work with its upper directory below `root`? kUnsupported says why not. Mounts one for a moment.
Result<> probe_overlay(const std::string& root);

}  // namespace caisson::image
