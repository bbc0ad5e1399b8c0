// SPDX-License-Identifier: Apache-2.0
#include "wire/compress_peek.h"

namespace caisson::compress {

Result<std::unique_ptr<PeekedSource>> PeekedSource::open(ByteSource& inner) {
  std::unique_ptr<PeekedSource> out(new PeekedSource(inner));
  while (out->head_.size() < kMagicSize) {
    char buffer[kMagicSize];
    size_t got = TRY(inner.read({buffer, kMagicSize - out->head_.size()}));
    if (got == 0) break;
    out->head_.append(buffer, got);
  }
  return out;
}

Result<size_t> PeekedSource::read(std::span<char> buffer) {
  if (taken_ == head_.size()) return inner_.read(buffer);
  size_t size = std::string_view(head_).substr(taken_).copy(buffer.data(), buffer.size());
  taken_ += size;
  return size;
}

}  // namespace caisson::compress
