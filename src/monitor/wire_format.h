// SPDX-License-Identifier: Apache-2.0
// Fields of a monitor message: little-endian numbers and length-prefixed bytes. Reading never goes
// beyond the end; after the first field that does not fit everything reads as zero and ok() is false.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace caisson::monitor {

class FieldWriter {
 public:
  template <class T>
  void number(T value) {
    auto wide = static_cast<uint64_t>(value);
    for (size_t i = 0; i < sizeof(T); ++i) out_ += static_cast<char>(wide >> (8 * i));
  }
  void flag(bool value) { out_ += static_cast<char>(value); }
  void bytes(std::string_view value) {
    number(static_cast<uint32_t>(value.size()));
    out_ += value;
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

class FieldReader {
 public:
  explicit FieldReader(std::string_view data) : rest_(data) {}
  template <class T>
  T number() {
    uint64_t wide = 0;
    if (!has(sizeof(T))) return T{};
    for (size_t i = 0; i < sizeof(T); ++i)
      wide |= static_cast<uint64_t>(static_cast<unsigned char>(rest_[i])) << (8 * i);
    rest_.remove_prefix(sizeof(T));
    return static_cast<T>(wide);
  }
  bool flag() {
    auto value = number<uint8_t>();
    if (value > 1) ok_ = false;
    return value == 1;
  }
  std::string_view bytes() {
    auto size = number<uint32_t>();
    if (!has(size)) return {};
    auto value = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return value;
  }
  std::string text() { return std::string(bytes()); }
  bool ok() const { return ok_; }
  bool complete() const { return ok_ && rest_.empty(); }

 private:
  bool has(size_t size) {
    if (rest_.size() < size) {
      ok_ = false;
      rest_ = {};
    }
    return ok_;
  }
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace caisson::monitor
