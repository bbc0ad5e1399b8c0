// SPDX-License-Identifier: Apache-2.0
// xz and bzip2 beside what compress.h decodes. Their libraries are slow, hungry and have had their share of trouble, so
// only the confined worker uses this; the engine just detects them.
#pragma once

#include <memory>

#include "base/bytes.h"
#include "wire/compress.h"

namespace caisson::compress {

// An xz stream says how much memory its decoder needs; more than this is refused. `xz -9` needs 65 MiB.
inline constexpr uint64_t kMaxXzMemory = 192 << 20;

// As Decompressor::open(), for all five formats.
Result<std::unique_ptr<ByteSource>> open_any(ByteSource& inner, uint64_t max_output = kNoLimit);

}  // namespace caisson::compress
