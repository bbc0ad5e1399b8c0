// SPDX-License-Identifier: Apache-2.0
#include "cli/stdcopy.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace caisson::cli {

static constexpr size_t kMaxSystemError = 4096;

Result<> FrameReader::feed(std::string_view data) {
  while (!data.empty()) {
    if (header_size_ < sizeof header_) {
      size_t take = std::min(sizeof header_ - header_size_, data.size());
      memcpy(header_ + header_size_, data.data(), take);
      header_size_ += take;
      data.remove_prefix(take);
      if (header_size_ < sizeof header_) return {};
      if (header_[0] > 3) return fail(ErrorKind::kCorrupt, "Unrecognized input header: %u", header_[0]);
      left_ = static_cast<uint32_t>(header_[4]) << 24 | static_cast<uint32_t>(header_[5]) << 16 |
              static_cast<uint32_t>(header_[6]) << 8 | header_[7];
    }
    std::string_view piece = data.substr(0, left_);
    left_ -= static_cast<uint32_t>(piece.size());
    data.remove_prefix(piece.size());
    if (header_[0] == 3) {
      system_error_ += piece.substr(0, kMaxSystemError - std::min(kMaxSystemError, system_error_.size()));
      if (left_ == 0) return fail(ErrorKind::kIo, "error from daemon in stream: %s", system_error_.c_str());
    } else if (!piece.empty()) {
      sink_(header_[0], piece);
    }
    if (left_ == 0) header_size_ = 0;
  }
  return {};
}

}  // namespace caisson::cli
