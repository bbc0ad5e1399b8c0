// SPDX-License-Identifier: Apache-2.0
// Unpacks one layer tar into an empty directory in overlay's form (whiteouts as 0/0 devices, opaque
// directories by attribute). The tar may come from anywhere: nothing outside the directory is touched,
// whatever names and links it holds. Needs root.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace caisson::image {

struct UnpackedLayer {
  int64_t size = 0;  // bytes of its files, hard links once
  uint64_t entries = 0;
  // False when the tar left out a parent directory or links to a file that is not in it: what was made
  // then depends on the layers below and fits this chain only.
  bool self_contained = true;
};

// `parents`: the unpacked layers below, base first; they are only read. Reads `tar` to its end. kInvalid
// for archives that are none or want to break out.
Result<UnpackedLayer> unpack_layer(ByteSource& tar, int destination, const std::vector<std::string>& parents);

}  // namespace caisson::image
