// SPDX-License-Identifier: Apache-2.0
#include "monitor/byte_queue.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace caisson::monitor {

namespace {
constexpr size_t kSmallest = 4096;
}

ByteQueue::~ByteQueue() { free(data_); }

bool ByteQueue::grow(size_t need) {
  size_t wanted = std::max(capacity_, kSmallest);
  while (wanted < need) wanted *= 2;
  auto* bigger = static_cast<char*>(malloc(wanted));
  if (!bigger) return false;
  size_t old = size_, done = 0;
  while (done < old) {
    size_t from = (begin_ + done) & (capacity_ - 1);
    size_t part = std::min(old - done, capacity_ - from);
    memcpy(bigger + done, data_ + from, part);
    done += part;
  }
  free(data_);
  data_ = bigger;
  capacity_ = wanted;
  begin_ = 0;
  return true;
}

bool ByteQueue::append(std::string_view bytes) {
  if (bytes.empty()) return true;
  if (capacity_ - size_ < bytes.size() && !grow(size_ + bytes.size())) return false;
  while (!bytes.empty()) {
    size_t at = (begin_ + size_) & (capacity_ - 1);
    size_t part = std::min(bytes.size(), capacity_ - at);
    memcpy(data_ + at, bytes.data(), part);
    size_ += part;
    bytes.remove_prefix(part);
  }
  return true;
}

std::string_view ByteQueue::front() const { return {data_ + begin_, std::min(size_, capacity_ - begin_)}; }

void ByteQueue::consume(size_t count) {
  size_ -= count;
  if (size_ > 0) {
    begin_ = (begin_ + count) & (capacity_ - 1);
    return;
  }
  free(data_);
  data_ = nullptr;
  begin_ = capacity_ = 0;
}

}  // namespace caisson::monitor
