// SPDX-License-Identifier: Apache-2.0
// Compression of layer blobs: detection by magic, gzip (ISA-L) and zstd decoding, gzip encoding.
// Limits against decompression bombs are the callers': they give the most bytes they accept.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace caisson::compress {

enum class Format : unsigned char { kNone, kGzip, kZstd, kXz, kBzip2 };
const char* format_name(Format format);

inline constexpr size_t kMagicSize = 6;
// Looks at the first kMagicSize bytes (fewer if the data is shorter).
Format detect(std::string_view head);

inline constexpr uint64_t kNoLimit = UINT64_MAX;

// What `inner` gives, decompressed if its magic says so. Errors while reading: kCorrupt for damaged or
// truncated data, kExhausted beyond `max_output` bytes. xz and bzip2 are refused with kUnsupported.
class Decompressor : public ByteSource {
 public:
  static Result<std::unique_ptr<Decompressor>> open(ByteSource& inner, uint64_t max_output = kNoLimit);
  virtual Format format() const = 0;
};

// Everything written is compressed into `inner` as one gzip member. finish() writes the end; without it
// the data is truncated.
class GzipSink : public ByteSink {
 public:
  explicit GzipSink(ByteSink& inner);
  ~GzipSink() override;
  Result<> write(std::string_view data) override;
  Result<> finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The gzip form of what `inner` gives.
class GzipSource : public ByteSource {
 public:
  explicit GzipSource(ByteSource& inner);
  ~GzipSource() override;
  Result<size_t> read(std::span<char> buffer) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace caisson::compress
