// SPDX-License-Identifier: Apache-2.0
#include "wire/compress_any.h"

#include <bzlib.h>
#include <doctest/doctest.h>
#include <lzma.h>

#include <algorithm>

#include "wire/compress_peek.h"

using namespace caisson;

namespace {

struct Drip : ByteSource {
  Drip(std::string_view data, size_t step_size) : rest(data), step(step_size) {}
  Result<size_t> read(std::span<char> buffer) override {
    size_t size = rest.copy(buffer.data(), std::min(step, buffer.size()));
    rest.remove_prefix(size);
    return size;
  }
  std::string_view rest;
  size_t step;
};

Result<std::string> unpack(std::string_view data, size_t step = 1 << 20, size_t chunk = 70000,
                           uint64_t limit = compress::kNoLimit) {
  Drip source(data, step);
  auto decoder = TRY(compress::open_any(source, limit));
  std::string out, buffer(chunk, '\0');
  while (size_t got = TRY(decoder->read(buffer))) out.append(buffer, 0, got);
  return out;
}

std::string words(size_t size) {
  std::string out;
  uint32_t state = 7;
  while (out.size() < size) {
    state = state * 1664525 + 1013904223;
    out += state >> 31 ? "words that come again " : std::string(1, static_cast<char>(state >> 16));
  }
  out.resize(size);
  return out;
}

std::string xz(std::string_view data, uint32_t dictionary = 1 << 20) {
  lzma_options_lzma options;
  lzma_lzma_preset(&options, 1);
  options.dict_size = dictionary;
  lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
  std::string out(lzma_stream_buffer_bound(data.size()), '\0');
  size_t size = 0;
  REQUIRE(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const uint8_t*>(data.data()),
                                    data.size(), reinterpret_cast<uint8_t*>(out.data()), &size, out.size()) == LZMA_OK);
  out.resize(size);
  return out;
}

std::string bzip2(std::string_view data) {
  std::string out(data.size() + data.size() / 100 + 700, '\0');
  unsigned size = static_cast<unsigned>(out.size());
  REQUIRE(BZ2_bzBuffToBuffCompress(out.data(), &size, const_cast<char*>(data.data()),
                                   static_cast<unsigned>(data.size()), 1, 0, 0) == BZ_OK);
  out.resize(size);
  return out;
}

}  // namespace

TEST_CASE("compress: xz and bzip2 come back at every boundary, several streams are one") {
  for (size_t size : {0, 1, 1000, 300000, 3000000}) {
    std::string data = words(size);
    for (const std::string& packed : {xz(data), bzip2(data), data}) {
      CHECK(*unpack(packed) == data);
      CHECK(*unpack(packed, 1 << 20, 1 << 24) == data);
      if (size <= 300000) CHECK(*unpack(packed, 7, 13) == data);
    }
  }
  std::string a = words(100000), b = "second";
  CHECK(*unpack(xz(a) + xz(b)) == a + b);
  CHECK(*unpack(bzip2(a) + bzip2(b)) == a + b);
  CHECK(*unpack(bzip2(a) + bzip2("") + bzip2(b), 5) == a + b);
}

TEST_CASE("compress: damaged, cut, too large or too hungry xz and bzip2 are refused") {
  std::string data = words(200000);
  for (const std::string& packed : {xz(data), bzip2(data)}) {
    for (size_t cut : {packed.size() - 1, packed.size() / 2, size_t{20}, size_t{7}}) {
      auto result = unpack(packed.substr(0, cut));
      REQUIRE(!result);
      CHECK(result.error().kind == ErrorKind::kCorrupt);
    }
    std::string bad = packed;
    bad[bad.size() / 2] ^= 1;
    CHECK(unpack(bad).error().kind == ErrorKind::kCorrupt);
    CHECK(unpack(packed + "junk").error().kind == ErrorKind::kCorrupt);
    CHECK(*unpack(packed, 1 << 20, 70000, data.size()) == data);
    CHECK(unpack(packed, 1 << 20, 70000, data.size() - 1).error().kind == ErrorKind::kExhausted);
  }
  // Only the header asks for this much; the data are three bytes.
  auto hungry = unpack(xz("abc", 1 << 30));
  REQUIRE(!hungry);
  CHECK(hungry.error().message == "xz data needs more than 192 MiB of memory to unpack");
}

TEST_CASE("compress: peeking takes nothing away") {
  for (std::string_view text : {"", "ab", "BZh9 and more"}) {
    Drip source(text, 1);
    auto peeked = compress::PeekedSource::open(source);
    REQUIRE(peeked);
    CHECK(((*peeked)->format() == compress::Format::kBzip2) == text.starts_with("BZh"));
    std::string out, buffer(3, '\0');
    while (size_t got = *(*peeked)->read(buffer)) out.append(buffer, 0, got);
    CHECK(out == text);
  }
}
