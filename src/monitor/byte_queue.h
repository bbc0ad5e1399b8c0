// SPDX-License-Identifier: Apache-2.0
// Bytes waiting for a descriptor to become writable. Memory is given back when the queue runs empty.
#pragma once

#include <cstddef>
#include <string_view>

namespace caisson::monitor {

class ByteQueue {
 public:
  ByteQueue() = default;
  ByteQueue(const ByteQueue&) = delete;
  ByteQueue& operator=(const ByteQueue&) = delete;
  ~ByteQueue();

  bool append(std::string_view bytes);  // false: no memory, nothing was added
  std::string_view front() const { return {data_ + begin_, end_ - begin_}; }
  void consume(size_t count);
  void clear() { consume(size()); }
  size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }

 private:
  char* data_ = nullptr;
  size_t begin_ = 0, end_ = 0, capacity_ = 0;
};

}  // namespace caisson::monitor
