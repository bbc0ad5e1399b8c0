// SPDX-License-Identifier: Apache-2.0
// Formats: the GNU tar manual, "Storing Sparse Files".
#include "wire/tar_sparse.h"

#include "base/text.h"

namespace caisson::tar {
namespace {

// 4 MiB of memory; the kernel's own limit on the extents of a file is far above.
constexpr size_t kMaxExtents = 256 << 10;
constexpr int kMaxDigits = 19;

std::unexpected<Error> bad_map() { return fail(ErrorKind::kInvalid, "invalid tar archive: a sparse map is malformed"); }

}  // namespace

std::optional<int64_t> parse_field(const char* block, size_t offset, size_t width) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(block + offset);
  if (bytes[0] & 0x80) {
    bool negative = bytes[0] & 0x40;
    uint64_t value = negative ? ~uint64_t{0} : 0;
    for (size_t i = 0; i < width; ++i) {
      uint64_t byte = i == 0 ? (negative ? bytes[0] : bytes[0] & 0x7fu) : bytes[i];
      if (static_cast<int64_t>(value) >> 55 != (negative ? -1 : 0)) return std::nullopt;
      value = value << 8 | byte;
    }
    return static_cast<int64_t>(value);
  }
  std::string_view text(block + offset, width);
  constexpr std::string_view kBlank(" \0", 2);
  size_t from = text.find_first_not_of(kBlank);
  if (from == std::string_view::npos) return 0;
  text = text.substr(from);
  text = text.substr(0, text.find_first_of(kBlank));
  auto value = parse_octal(text);
  if (!value || *value > INT64_MAX) return std::nullopt;
  return static_cast<int64_t>(*value);
}

Result<> SparseMap::add(uint64_t offset, uint64_t size) {
  if (extents_.size() >= kMaxExtents)
    return fail(ErrorKind::kInvalid, "invalid tar archive: a sparse map has more than %zu parts", kMaxExtents);
  extents_.push_back({offset, size});
  return {};
}

Result<> SparseMap::take_list(std::string_view text) {
  extents_.clear();
  auto numbers = split(text, ',');
  if (text.empty()) return {};
  if (numbers.size() % 2 != 0) return bad_map();
  for (size_t i = 0; i < numbers.size(); i += 2) {
    auto offset = parse_uint(numbers[i]), size = parse_uint(numbers[i + 1]);
    if (!offset || !size) return bad_map();
    TRY(add(*offset, *size));
  }
  return {};
}

Result<> SparseMap::take_number(bool is_offset, std::string_view text) {
  auto number = parse_uint(text);
  if (!number || is_offset == pending_offset_.has_value()) return bad_map();
  if (is_offset) {
    pending_offset_ = number;
    return {};
  }
  TRY(add(*pending_offset_, *number));
  pending_offset_.reset();
  return {};
}

Result<bool> SparseMap::take_fields(const char* block, size_t offset, size_t count) {
  for (size_t i = 0; i < count; ++i, offset += 24) {
    if (block[offset] == '\0' && block[offset + 12] == '\0') return false;
    auto start = parse_field(block, offset, 12), size = parse_field(block, offset + 12, 12);
    if (!start || !size || *start < 0 || *size < 0) return bad_map();
    TRY(add(static_cast<uint64_t>(*start), static_cast<uint64_t>(*size)));
  }
  return true;
}

Result<> SparseMap::check(uint64_t file_size, uint64_t data_size) const {
  if (pending_offset_) return bad_map();
  uint64_t at = 0, data = 0;
  for (const Extent& extent : extents_) {
    if (extent.offset < at || extent.offset > file_size || extent.size > file_size - extent.offset) return bad_map();
    at = extent.offset + extent.size;
    data += extent.size;
  }
  if (data != data_size) return bad_map();
  return {};
}

Result<bool> SparseLines::take_block(std::string_view block) {
  for (char c : block) {
    if (c != '\n') {
      if (c < '0' || c > '9' || ++digits_ > kMaxDigits) return bad_map();
      value_ = value_ * 10 + static_cast<uint64_t>(c - '0');
      continue;
    }
    if (digits_ == 0) return bad_map();
    uint64_t number = std::exchange(value_, 0);
    digits_ = 0;
    if (!left_) {
      if (number > kMaxExtents) return bad_map();
      left_ = number * 2;
    } else {
      if (!offset_) {
        offset_ = number;
      } else {
        TRY(map_.add(*offset_, number));
        offset_.reset();
      }
      --*left_;
    }
    if (*left_ == 0) return true;
  }
  return false;
}

}  // namespace caisson::tar
