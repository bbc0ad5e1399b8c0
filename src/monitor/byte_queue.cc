// SPDX-License-Identifier: Apache-2.0
#include "monitor/byte_queue.h"

#include <cstdlib>
#include <cstring>

namespace caisson::monitor {

namespace {
constexpr size_t kSmallest = 4096;
}

ByteQueue::~ByteQueue() { free(data_); }

bool ByteQueue::append(std::string_view bytes) {
  if (bytes.empty()) return true;
  if (capacity_ - end_ < bytes.size()) {
    size_t need = size() + bytes.size();
    if (need <= capacity_ && begin_ >= capacity_ / 2) {
      memmove(data_, data_ + begin_, size());
    } else {
      size_t wanted = capacity_ ? capacity_ : kSmallest;
      while (wanted < need) wanted *= 2;
      if (wanted == capacity_) wanted *= 2;
      auto* bigger = static_cast<char*>(malloc(wanted));
      if (!bigger) return false;
      if (size() > 0) memcpy(bigger, data_ + begin_, size());
      free(data_);
      data_ = bigger;
      capacity_ = wanted;
    }
    end_ -= begin_;
    begin_ = 0;
  }
  memcpy(data_ + end_, bytes.data(), bytes.size());
  end_ += bytes.size();
  return true;
}

void ByteQueue::consume(size_t count) {
  begin_ += count;
  if (begin_ < end_) return;
  free(data_);
  data_ = nullptr;
  begin_ = end_ = capacity_ = 0;
}

}  // namespace caisson::monitor
