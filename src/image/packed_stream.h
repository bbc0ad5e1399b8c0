// SPDX-License-Identifier: Apache-2.0
// Streams that clients send compressed: gzip and zstd are unpacked here, xz and bzip2 by a confined worker, so that
// their libraries are not part of the engine.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace caisson::image {

// More bytes than this, or than kMaxRatio times the compressed ones, are refused with kExhausted.
inline constexpr uint64_t kMaxStreamBytes = uint64_t{256} << 30;
inline constexpr uint64_t kMaxStreamRatio = 1100, kFreeStreamBytes = 64 << 20;

// What `packed` gives, decompressed if its first bytes say so. `fetch_program` is the path of caisson-fetch. Reading
// must go on in the thread that called this: the worker dies with it. kCorrupt for damaged data.
Result<std::unique_ptr<ByteSource>> open_stream(ByteSource& packed, const std::string& fetch_program);

}  // namespace caisson::image
