// SPDX-License-Identifier: Apache-2.0
// The inner loop of reading and writing strings. Internal to json*.cc.
#pragma once

#include <cstdint>
#include <cstring>

namespace caisson::json {

// Bytes of a string that need no look: not a quote, backslash, control byte or part of a multi-byte character.
inline size_t plain_run(const char* from, const char* end) {
  constexpr uint64_t kOnes = 0x0101010101010101, kHighs = 0x8080808080808080;
  const char* at = from;
  for (; end - at >= 8; at += 8) {
    uint64_t word;
    memcpy(&word, at, 8);
    uint64_t quote = word ^ (kOnes * '"'), slash = word ^ (kOnes * '\\');
    uint64_t hit =
        (((quote - kOnes) & ~quote) | ((slash - kOnes) & ~slash) | ((word - kOnes * 0x20) & ~word) | word) & kHighs;
    if (hit) {
      static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
      return at - from + __builtin_ctzll(hit) / 8;
    }
  }
  while (at < end && static_cast<unsigned char>(*at) >= 0x20 && static_cast<unsigned char>(*at) < 0x80 && *at != '"' &&
         *at != '\\')
    ++at;
  return at - from;
}

}  // namespace caisson::json
