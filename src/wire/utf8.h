// SPDX-License-Identifier: Apache-2.0
// UTF-8, one character at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace caisson {

inline constexpr std::string_view kReplacementCharacter = "\xef\xbf\xbd";

// Size of the well-formed character that starts at `at`, 0 if there is none (overlong forms, surrogates,
// codes past 10FFFF and cut characters are not well-formed).
inline size_t utf8_size(const char* at, const char* end) {
  auto byte = [&](int i) { return static_cast<unsigned char>(at[i]); };
  auto tail = [&](int i) { return (byte(i) & 0xc0) == 0x80; };
  size_t left = static_cast<size_t>(end - at);
  if (left == 0) return 0;
  unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;
  if (first < 0xe0) return left >= 2 && tail(1) ? 2 : 0;
  if (first < 0xf0) {
    if (left < 3 || !tail(1) || !tail(2)) return 0;
    if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) >= 0xa0)) return 0;
    return 3;
  }
  if (first > 0xf4 || left < 4 || !tail(1) || !tail(2) || !tail(3)) return 0;
  if ((first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) >= 0x90)) return 0;
  return 4;
}

// Surrogates and codes past 10FFFF become U+FFFD.
inline void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else if ((code >= 0xd800 && code < 0xe000) || code > 0x10ffff) {
    out += kReplacementCharacter;
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

}  // namespace caisson
