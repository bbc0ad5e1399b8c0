// SPDX-License-Identifier: Apache-2.0
#include "wire/compress_any.h"

#include <bzlib.h>
#include <lzma.h>

#include <algorithm>
#include <vector>

#include "wire/compress_peek.h"

namespace caisson::compress {

namespace {

constexpr size_t kInputSize = 64 << 10;

// The frame of both decoders: fills the input, counts the output.
class BlockDecoder : public ByteSource {
 public:
  BlockDecoder(std::unique_ptr<PeekedSource> inner, uint64_t limit)
      : inner_(std::move(inner)), buffer_(kInputSize), left_(limit) {}

  Result<size_t> read(std::span<char> out) override {
    if (out.empty()) return size_t{0};
    size_t got = TRY(decode(out.first(std::min(out.size(), size_t{1} << 30))));
    if (got > left_) return fail(ErrorKind::kExhausted, "decompressed data is larger than allowed");
    left_ -= got;
    return got;
  }

 protected:
  virtual Result<size_t> decode(std::span<char> out) = 0;
  // More input once there is none; false at its end.
  Result<bool> refill() {
    if (begin_ < end_) return true;
    begin_ = 0;
    end_ = TRY(inner_->read(buffer_));
    return end_ > 0;
  }
  char* next() { return buffer_.data() + begin_; }
  size_t available() const { return end_ - begin_; }
  void consume(size_t size) { begin_ += size; }

 private:
  std::unique_ptr<PeekedSource> inner_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  uint64_t left_;
};

class XzDecoder : public BlockDecoder {
 public:
  using BlockDecoder::BlockDecoder;
  ~XzDecoder() override { lzma_end(&stream_); }
  Result<> start() {
    if (lzma_stream_decoder(&stream_, kMaxXzMemory, LZMA_CONCATENATED) != LZMA_OK)
      return fail(ErrorKind::kExhausted, "xz: out of memory");
    return {};
  }

 private:
  Result<size_t> decode(std::span<char> out) override {
    stream_.next_out = reinterpret_cast<uint8_t*>(out.data());
    stream_.avail_out = out.size();
    while (!finished_ && stream_.avail_out == out.size()) {
      bool more = TRY(refill());
      stream_.next_in = reinterpret_cast<uint8_t*>(next());
      stream_.avail_in = available();
      size_t before = stream_.avail_in;
      lzma_ret code = lzma_code(&stream_, more ? LZMA_RUN : LZMA_FINISH);
      consume(before - stream_.avail_in);
      if (code == LZMA_STREAM_END) {
        finished_ = true;
      } else if (code == LZMA_MEMLIMIT_ERROR) {
        return fail(ErrorKind::kExhausted, "xz data needs more than %d MiB of memory to unpack",
                    static_cast<int>(kMaxXzMemory >> 20));
      } else if (code == LZMA_BUF_ERROR || (!more && code == LZMA_OK && stream_.avail_out == out.size())) {
        return fail(ErrorKind::kCorrupt, "xz data ends too early");
      } else if (code != LZMA_OK) {
        return fail(code == LZMA_MEM_ERROR ? ErrorKind::kExhausted : ErrorKind::kCorrupt,
                    code == LZMA_MEM_ERROR ? "xz: out of memory" : "xz data is damaged");
      }
    }
    return out.size() - stream_.avail_out;
  }

  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool finished_ = false;
};

class Bzip2Decoder : public BlockDecoder {
 public:
  using BlockDecoder::BlockDecoder;
  ~Bzip2Decoder() override { stop(); }

 private:
  void stop() {
    if (running_) BZ2_bzDecompressEnd(&stream_);
    running_ = false;
  }

  Result<size_t> decode(std::span<char> out) override {
    size_t left = out.size();
    while (left == out.size()) {
      bool more = TRY(refill());
      if (!more && !running_) return size_t{0};
      if (!running_) {
        stream_ = {};
        if (BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK) return fail(ErrorKind::kExhausted, "bzip2: out of memory");
        running_ = true;
      }
      stream_.next_in = next();
      stream_.avail_in = static_cast<unsigned>(available());
      stream_.next_out = out.data();
      stream_.avail_out = static_cast<unsigned>(out.size());
      int code = BZ2_bzDecompress(&stream_);
      consume(available() - stream_.avail_in);
      left = stream_.avail_out;
      if (code == BZ_STREAM_END) {
        stop();  // another stream may follow
      } else if (code != BZ_OK) {
        return fail(code == BZ_MEM_ERROR ? ErrorKind::kExhausted : ErrorKind::kCorrupt,
                    code == BZ_MEM_ERROR ? "bzip2: out of memory" : "bzip2 data is damaged");
      } else if (!more && left == out.size()) {
        return fail(ErrorKind::kCorrupt, "bzip2 data ends too early");
      }
    }
    return out.size() - left;
  }

  bz_stream stream_{};
  bool running_ = false;
};

// Keeps what the decoder reads from.
class OwningSource : public ByteSource {
 public:
  OwningSource(std::unique_ptr<PeekedSource> inner, std::unique_ptr<Decompressor> decoder)
      : inner_(std::move(inner)), decoder_(std::move(decoder)) {}
  Result<size_t> read(std::span<char> buffer) override { return decoder_->read(buffer); }

 private:
  std::unique_ptr<PeekedSource> inner_;
  std::unique_ptr<Decompressor> decoder_;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> open_any(ByteSource& inner, uint64_t max_output) {
  auto peeked = TRY(PeekedSource::open(inner));
  switch (peeked->format()) {
    case Format::kXz: {
      auto decoder = std::make_unique<XzDecoder>(std::move(peeked), max_output);
      TRY(decoder->start());
      return decoder;
    }
    case Format::kBzip2: return std::make_unique<Bzip2Decoder>(std::move(peeked), max_output);
    default: break;
  }
  auto decoder = TRY(Decompressor::open(*peeked, max_output));
  return std::make_unique<OwningSource>(std::move(peeked), std::move(decoder));
}

}  // namespace caisson::compress
