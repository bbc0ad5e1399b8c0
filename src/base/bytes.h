// SPDX-License-Identifier: Apache-2.0
// Pull and push of bytes between modules that do not know each other: request bodies, tar streams, blobs.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "base/result.h"

namespace caisson {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Up to buffer.size() bytes; 0 is the end. Blocks.
  virtual Result<size_t> read(std::span<char> buffer) = 0;
};

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  // All of `data` or an error. Blocks.
  virtual Result<> write(std::string_view data) = 0;
};

class StringSource : public ByteSource {
 public:
  explicit StringSource(std::string_view text) : rest_(text) {}
  Result<size_t> read(std::span<char> buffer) override {
    size_t size = rest_.copy(buffer.data(), buffer.size());
    rest_.remove_prefix(size);
    return size;
  }

 private:
  std::string_view rest_;
};

}  // namespace caisson
