// SPDX-License-Identifier: Apache-2.0
// FIPS 180-4, section 6.2. The constants are the fractional parts of roots of primes and are computed so.
#include "cli/context_digest.h"

#include <bit>
#include <cmath>
#include <cstdint>

#include "base/text.h"

namespace caisson::cli {

namespace {

struct Constants {
  uint32_t state[8], round[64];
};

uint32_t fraction(long double root) { return static_cast<uint32_t>((root - std::floor(root)) * 4294967296.0L); }

Constants make_constants() {
  Constants out{};
  int count = 0;
  for (unsigned candidate = 2; count < 64; ++candidate) {
    bool prime = true;
    for (unsigned divisor = 2; divisor * divisor <= candidate; ++divisor) prime = prime && candidate % divisor != 0;
    if (!prime) continue;
    if (count < 8) out.state[count] = fraction(std::sqrt(static_cast<long double>(candidate)));
    out.round[count++] = fraction(std::cbrt(static_cast<long double>(candidate)));
  }
  return out;
}

void add_block(uint32_t (&state)[8], const unsigned char* block, const uint32_t (&constants)[64]) {
  uint32_t words[64];
  for (int i = 0; i < 16; ++i)
    words[i] = uint32_t{block[4 * i]} << 24 | uint32_t{block[4 * i + 1]} << 16 | uint32_t{block[4 * i + 2]} << 8 |
               uint32_t{block[4 * i + 3]};
  for (int i = 16; i < 64; ++i) {
    uint32_t a = words[i - 15], b = words[i - 2];
    words[i] = words[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ (a >> 3)) + words[i - 7] +
               (std::rotr(b, 17) ^ std::rotr(b, 19) ^ (b >> 10));
  }
  uint32_t v[8];
  for (int i = 0; i < 8; ++i) v[i] = state[i];
  for (int i = 0; i < 64; ++i) {
    uint32_t mix = std::rotr(v[4], 6) ^ std::rotr(v[4], 11) ^ std::rotr(v[4], 25);
    uint32_t first = v[7] + mix + ((v[4] & v[5]) ^ (~v[4] & v[6])) + constants[i] + words[i];
    uint32_t turn = std::rotr(v[0], 2) ^ std::rotr(v[0], 13) ^ std::rotr(v[0], 22);
    uint32_t second = turn + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
    for (int j = 7; j > 0; --j) v[j] = v[j - 1];
    v[4] += first;
    v[0] = first + second;
  }
  for (int i = 0; i < 8; ++i) state[i] += v[i];
}

}  // namespace

std::string sha256_hex(std::string_view text) {
  Constants constants = make_constants();
  std::string data(text);
  data += '\x80';
  while (data.size() % 64 != 56) data += '\0';
  uint64_t bits = uint64_t{text.size()} * 8;
  for (int shift = 56; shift >= 0; shift -= 8) data += static_cast<char>(bits >> shift & 0xff);
  for (size_t at = 0; at < data.size(); at += 64)
    add_block(constants.state, reinterpret_cast<const unsigned char*>(data.data() + at), constants.round);
  std::string out;
  for (uint32_t word : constants.state) out += format("%08x", word);
  return out;
}

}  // namespace caisson::cli
