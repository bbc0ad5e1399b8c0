// SPDX-License-Identifier: Apache-2.0
// The frames of a stream without terminal: one byte of stream number, three zero bytes, four bytes of
// big-endian length, then the data.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace caisson::cli {

// Takes the stream in pieces of any size and passes the payload on at once; nothing is held back but a
// header cut in two.
class FrameReader {
 public:
  // stream: 1 output, 2 error output (and 0, which engines use for output as well).
  using Sink = std::function<void(int stream, std::string_view data)>;
  explicit FrameReader(Sink sink) : sink_(std::move(sink)) {}

  // kCorrupt on an unknown stream number. Stream 3 is the engine's error text: kIo with that text.
  Result<> feed(std::string_view data);

 private:
  Sink sink_;
  unsigned char header_[8] = {};
  size_t header_size_ = 0;
  uint32_t left_ = 0;
  std::string system_error_;
};

}  // namespace caisson::cli
