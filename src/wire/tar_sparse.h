// SPDX-License-Identifier: Apache-2.0
// Where the data of a sparse member lies in its file, in the four forms that GNU tar has written over the years. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace caisson::tar {

struct Extent {
  uint64_t offset = 0, size = 0;
};

class SparseMap {
 public:
  // "offset,size,offset,size" (pax 0.1).
  Result<> take_list(std::string_view text);
  // One number of "GNU.sparse.offset" or "GNU.sparse.numbytes", which follow each other (pax 0.0).
  Result<> take_number(bool is_offset, std::string_view text);
  // 24 bytes each, octal or base 256, until an empty one (old GNU headers). False once an empty one was met.
  Result<bool> take_fields(const char* block, size_t offset, size_t count);
  Result<> add(uint64_t offset, uint64_t size);

  // In order, inside the file, and as much data as the member has.
  Result<> check(uint64_t file_size, uint64_t data_size) const;
  bool empty() const { return extents_.empty(); }
  std::vector<Extent> take() { return std::move(extents_); }

 private:
  std::vector<Extent> extents_;
  std::optional<uint64_t> pending_offset_;
};

// The decimal lines before the data of a member (pax 1.0): feed blocks until done.
class SparseLines {
 public:
  // True when the whole map has been read; the rest of the block is padding.
  Result<bool> take_block(std::string_view block);
  SparseMap& map() { return map_; }

 private:
  SparseMap map_;
  std::optional<uint64_t> left_;  // numbers still to come
  std::optional<uint64_t> offset_;
  uint64_t value_ = 0;
  int digits_ = 0;
};

// Octal with spaces or NULs around it, or base 256 where the top bit of the first byte is set.
std::optional<int64_t> parse_field(const char* block, size_t offset, size_t width);

}  // namespace caisson::tar
