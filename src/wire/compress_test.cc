// SPDX-License-Identifier: Apache-2.0
#include "wire/compress.h"

#include <doctest/doctest.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>

#include "wire/digest.h"

using namespace caisson;
using compress::Decompressor;

namespace {
struct StringSink : ByteSink {
  Result<> write(std::string_view data) override {
    text += data;
    return {};
  }
  std::string text;
};

// Gives at most `step` bytes at a time, so that every boundary is met.
struct DripSource : ByteSource {
  DripSource(std::string_view data, size_t step_size) : rest(data), step(step_size) {}
  Result<size_t> read(std::span<char> buffer) override {
    size_t size = rest.copy(buffer.data(), std::min(step, buffer.size()));
    rest.remove_prefix(size);
    return size;
  }
  std::string_view rest;
  size_t step;
};

Result<std::string> drain(ByteSource& source, size_t chunk = 70000) {
  std::string out, buffer(chunk, '\0');
  while (size_t got = TRY(source.read(buffer))) out.append(buffer, 0, got);
  return out;
}

Result<std::string> decompress(std::string_view data, uint64_t limit = compress::kNoLimit, size_t step = 1 << 20,
                               size_t chunk = 70000) {
  DripSource source(data, step);
  auto decoder = TRY(Decompressor::open(source, limit));
  return drain(*decoder, chunk);
}

std::string sample(size_t size) {
  std::string out;
  uint32_t state = 1;
  while (out.size() < size) {
    state = state * 1664525 + 1013904223;
    if (state >> 30)
      out += "the same words again and again ";
    else
      out += static_cast<char>(state >> 16);
  }
  out.resize(size);
  return out;
}

std::string zlib_gzip(std::string_view data) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, data.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zlib_gunzip(std::string_view data, size_t size) {
  z_stream stream{};
  inflateInit2(&stream, 15 + 16);
  std::string out(size + 1, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  CHECK(inflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}

std::string zstd(std::string_view data) {
  std::string out(ZSTD_compressBound(data.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), data.data(), data.size(), 3));
  return out;
}
}  // namespace

TEST_CASE("digest: known values and text form") {
  CHECK(digest::sha256("") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  digest::Hasher hasher;
  hasher.update("a");
  hasher.update("bc");
  CHECK(hasher.finish() == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hasher.finish() == digest::sha256(""));
  CHECK(digest::is_valid(digest::sha256("x")));
  CHECK(!digest::is_valid("sha256:" + std::string(63, 'a')));
  CHECK(!digest::is_valid("sha256:" + std::string(64, 'A')));
  CHECK(!digest::is_valid("sha512:" + std::string(64, 'a')));
  CHECK(!digest::is_valid("sha256:" + std::string(61, 'a') + "/.."));
}

TEST_CASE("compress: what zlib and zstd wrote comes back, at every buffer boundary") {
  for (size_t size : {0, 1, 1000, 300000, 3000000}) {
    std::string data = sample(size);
    for (const std::string& packed : {zlib_gzip(data), zstd(data)}) {
      CHECK(*decompress(packed) == data);
      CHECK(*decompress(packed, compress::kNoLimit, 1 << 20, 100000000) == data);
      if (size <= 300000) CHECK(*decompress(packed, compress::kNoLimit, 7, 13) == data);
    }
    CHECK(*decompress(data) == data);
  }
  CHECK(*decompress("ab") == "ab");
}

TEST_CASE("compress: several members and frames are one stream; padding is ignored, junk is not") {
  std::string a = sample(100000), b = "second";
  CHECK(*decompress(zlib_gzip(a) + zlib_gzip(b)) == a + b);
  CHECK(*decompress(zlib_gzip(a) + zlib_gzip("") + zlib_gzip(b), compress::kNoLimit, 5) == a + b);
  CHECK(*decompress(zstd(a) + zstd(b)) == a + b);
  CHECK(*decompress(zlib_gzip(a) + std::string(100, '\0')) == a);
  CHECK(decompress(zlib_gzip(a) + "junk").error().kind == ErrorKind::kCorrupt);
}

TEST_CASE("compress: damage and truncation are found, limits hold") {
  std::string data = sample(200000);
  for (std::string packed : {zlib_gzip(data), zstd(data)}) {
    for (size_t cut : {packed.size() - 1, packed.size() / 2, size_t{20}, size_t{7}}) {
      auto result = decompress(packed.substr(0, cut));
      REQUIRE(!result);
      CHECK(result.error().kind == ErrorKind::kCorrupt);
    }
    CHECK(*decompress(packed, data.size()) == data);
    CHECK(decompress(packed, data.size() - 1).error().kind == ErrorKind::kExhausted);
  }
  std::string bad = zlib_gzip(data);
  bad[bad.size() - 6] ^= 1;
  CHECK(decompress(bad).error().kind == ErrorKind::kCorrupt);
  CHECK(decompress(std::string("\xfd"
                               "7zXZ\0abc",
                               9))
            .error()
            .kind == ErrorKind::kUnsupported);
  CHECK(decompress("BZh9xxxx").error().message == "bzip2 compression is not supported");
}

TEST_CASE("compress: gzip filters make what zlib reads") {
  for (size_t size : {0, 1, 1000, 262144, 3000000}) {
    std::string data = sample(size);
    StringSink sink;
    compress::GzipSink gzip(sink);
    for (size_t at = 0; at < data.size(); at += 50001) REQUIRE(gzip.write(std::string_view(data).substr(at, 50001)));
    REQUIRE(gzip.finish());
    CHECK(zlib_gunzip(sink.text, size) == data);
    StringSource plain(data);
    compress::GzipSource source(plain);
    std::string packed = *drain(source, 999);
    CHECK(zlib_gunzip(packed, size) == data);
  }
}
