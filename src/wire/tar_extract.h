// SPDX-License-Identifier: Apache-2.0
// From a tar stream into a directory. The tar is hostile, and so may be what is there already: every name is
// resolved inside the root that is given, and names that climb out of the destination are refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"

namespace caisson::tar {

struct ExtractOptions {
  bool keep_kinds = false;  // a directory is never replaced by something else, nor the other way round
  std::optional<std::pair<uint32_t, uint32_t>> owner;  // uid and gid of everything; else what the tar says
  // The first of the names' text is replaced where it stands first, as Docker's client renames entries.
  std::optional<std::pair<std::string, std::string>> rename;
};

// `destination` is a directory, absolute, as if `root` were "/". What the destination itself is stays as it is.
Result<> extract_archive(ByteSource& tar, int root, const std::string& destination, const ExtractOptions& options);

}  // namespace caisson::tar
