// SPDX-License-Identifier: Apache-2.0
// The data of one member into a file that was just made: holes stay holes, and long runs of zeros become some.
#pragma once

#include <span>

#include "base/result.h"
#include "wire/tar_reader.h"

namespace caisson::tar {

// `fd` is an empty file at its beginning; `size` is what Entry said. `buffer` of 64 KiB at least.
Result<> write_member(Reader& reader, int fd, uint64_t size, std::span<char> buffer);

}  // namespace caisson::tar
