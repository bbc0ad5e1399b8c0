// SPDX-License-Identifier: Apache-2.0
// Bytes waiting for a descriptor to become writable: a ring that grows by doubling and gives its memory
// back when it runs empty.
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
  // The next bytes; not all of them where the ring wraps around.
  std::string_view front() const;
  void consume(size_t count);
  void clear() { consume(size_); }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  bool empty() const { return size_ == 0; }

 private:
  bool grow(size_t need);

  char* data_ = nullptr;
  size_t begin_ = 0, size_ = 0;
  size_t capacity_ = 0;  // a power of two
};

}  // namespace caisson::monitor
