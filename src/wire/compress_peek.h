// SPDX-License-Identifier: Apache-2.0
// Which compression a stream has, before somebody is chosen to undo it.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "wire/compress.h"

namespace caisson::compress {

// Looks at the first bytes of `inner` without taking them away: reads give them again.
class PeekedSource : public ByteSource {
 public:
  static Result<std::unique_ptr<PeekedSource>> open(ByteSource& inner);
  Format format() const { return detect(head_); }
  Result<size_t> read(std::span<char> buffer) override;

 private:
  explicit PeekedSource(ByteSource& inner) : inner_(inner) {}
  ByteSource& inner_;
  std::string head_;
  size_t taken_ = 0;
};

}  // namespace caisson::compress
