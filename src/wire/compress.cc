// SPDX-License-Identifier: Apache-2.0
#include "wire/compress.h"

#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace caisson::compress {

constexpr size_t kBufferSize = 256 << 10;

const char* format_name(Format format) {
  switch (format) {
    case Format::kNone: return "none";
    case Format::kGzip: return "gzip";
    case Format::kZstd: return "zstd";
    case Format::kXz: return "xz";
    case Format::kBzip2: return "bzip2";
  }
  return "none";
}

Format detect(std::string_view head) {
  using namespace std::string_view_literals;
  if (head.starts_with("\x1f\x8b\x08"sv)) return Format::kGzip;
  if (head.starts_with("\x28\xb5\x2f\xfd"sv)) return Format::kZstd;
  // A zstd stream may begin with a skippable frame (0x184D2A50 to 5F), as seekable variants do.
  if (head.size() >= 4 && (head[0] & 0xf0) == 0x50 && head.substr(1, 3) == "\x2a\x4d\x18"sv) return Format::kZstd;
  if (head.starts_with("\xfd"
                       "7zXZ\0"sv))
    return Format::kXz;
  if (head.size() >= 4 && head.starts_with("BZh") && head[3] >= '1' && head[3] <= '9') return Format::kBzip2;
  return Format::kNone;
}

namespace {

// The input side of all decoders: a buffer over the inner source, with the magic already in it.
class Input {
 public:
  explicit Input(ByteSource& inner) : inner_(inner), buffer_(kBufferSize) {}

  Result<> fill_magic() {
    while (end_ < kMagicSize && !at_end_) TRY(append());
    return {};
  }
  std::string_view rest() const { return {buffer_.data() + begin_, end_ - begin_}; }
  void consume(size_t size) { begin_ += size; }
  // More bytes once rest() is empty; false at the end.
  Result<bool> refill() {
    if (at_end_) return false;
    begin_ = end_ = 0;
    TRY(append());
    return end_ > 0;
  }
  // Plain bytes: what is buffered, then straight from the inner source.
  Result<size_t> read(std::span<char> out) {
    if (begin_ == end_) return at_end_ ? Result<size_t>(0) : inner_.read(out);
    size_t size = rest().copy(out.data(), out.size());
    consume(size);
    return size;
  }

 private:
  Result<> append() {
    size_t got = TRY(inner_.read({buffer_.data() + end_, buffer_.size() - end_}));
    end_ += got;
    at_end_ = got == 0;
    return {};
  }

  ByteSource& inner_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  bool at_end_ = false;
};

class LimitedDecompressor : public Decompressor {
 public:
  LimitedDecompressor(Input input, Format format, uint64_t limit)
      : input_(std::move(input)), format_(format), left_(limit) {}
  Format format() const override { return format_; }
  Result<size_t> read(std::span<char> buffer) override {
    if (buffer.empty()) return 0;
    size_t got = TRY(decode(buffer));
    if (got > left_) return fail(ErrorKind::kExhausted, "decompressed data is larger than allowed");
    left_ -= got;
    return got;
  }

 protected:
  virtual Result<size_t> decode(std::span<char> buffer) = 0;
  Input input_;

 private:
  Format format_;
  uint64_t left_;
};

class PlainSource : public LimitedDecompressor {
 public:
  using LimitedDecompressor::LimitedDecompressor;

 private:
  Result<size_t> decode(std::span<char> buffer) override { return input_.read(buffer); }
};

class GzipDecoder : public LimitedDecompressor {
 public:
  GzipDecoder(Input input, uint64_t limit)
      : LimitedDecompressor(std::move(input), Format::kGzip, limit), state_(std::make_unique<inflate_state>()) {
    start_member();
  }

 private:
  void start_member() {
    isal_inflate_init(state_.get());
    state_->crc_flag = ISAL_GZIP;
  }

  Result<size_t> decode(std::span<char> buffer) override {
    while (!finished_) {
      if (state_->block_state == ISAL_BLOCK_FINISH) {
        TRY(next_member());
        continue;
      }
      size_t room = std::min(buffer.size(), size_t{1} << 30);
      std::string_view in = input_.rest();
      state_->next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(in.data()));
      state_->avail_in = static_cast<uint32_t>(in.size());
      state_->next_out = reinterpret_cast<uint8_t*>(buffer.data());
      state_->avail_out = static_cast<uint32_t>(room);
      int code = isal_inflate(state_.get());
      input_.consume(in.size() - state_->avail_in);
      if (code < 0 || code == ISAL_NEED_DICT)
        return fail(ErrorKind::kCorrupt,
                    code == ISAL_INCORRECT_CHECKSUM ? "gzip data: wrong checksum" : "gzip data is damaged");
      if (size_t got = room - state_->avail_out) return got;
      // Only now is nothing left inside the decoder, so more input is needed, or the member is complete.
      if (state_->block_state != ISAL_BLOCK_FINISH && input_.rest().empty() && !TRY(input_.refill()))
        return fail(ErrorKind::kCorrupt, "gzip data ends too early");
    }
    return 0;
  }

  // After a member: another one, zero padding, or the end.
  Result<> next_member() {
    while (true) {
      if (input_.rest().empty() && !TRY(input_.refill())) {
        finished_ = true;
        return {};
      }
      if (input_.rest()[0] == '\x1f') break;
      if (input_.rest()[0] != '\0') return fail(ErrorKind::kCorrupt, "gzip data is followed by something else");
      input_.consume(1);
    }
    start_member();
    return {};
  }

  std::unique_ptr<inflate_state> state_;
  bool finished_ = false;
};

class ZstdDecoder : public LimitedDecompressor {
 public:
  ZstdDecoder(Input input, uint64_t limit)
      : LimitedDecompressor(std::move(input), Format::kZstd, limit), context_(ZSTD_createDCtx()) {}

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };

  Result<size_t> decode(std::span<char> buffer) override {
    if (!context_) return fail(ErrorKind::kExhausted, "zstd: out of memory");
    ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
    while (out.pos == 0) {
      if (input_.rest().empty() && !flush_first_ && !TRY(input_.refill())) {
        if (in_frame_) return fail(ErrorKind::kCorrupt, "zstd data ends too early");
        return 0;
      }
      ZSTD_inBuffer in{input_.rest().data(), input_.rest().size(), 0};
      size_t code = ZSTD_decompressStream(context_.get(), &out, &in);
      input_.consume(in.pos);
      if (ZSTD_isError(code)) return fail(ErrorKind::kCorrupt, "zstd data is damaged: %s", ZSTD_getErrorName(code));
      in_frame_ = code != 0;
      // A full output buffer may leave decoded bytes inside: call again before reading more.
      flush_first_ = in_frame_ && out.pos == out.size;
    }
    return out.pos;
  }

  std::unique_ptr<ZSTD_DCtx, Free> context_;
  bool in_frame_ = false, flush_first_ = false;
};

// The encoder behind both gzip filters.
class Deflater {
 public:
  Deflater() : level_buffer_(ISAL_DEF_LVL1_DEFAULT) {
    isal_deflate_init(&stream_);
    stream_.level = 1;
    stream_.level_buf = level_buffer_.data();
    stream_.level_buf_size = static_cast<uint32_t>(level_buffer_.size());
    stream_.gzip_flag = IGZIP_GZIP;
    stream_.flush = NO_FLUSH;
    stream_.end_of_stream = 0;
    stream_.next_in = nullptr;
    stream_.avail_in = 0;
  }
  void set_input(std::string_view data, bool last) {
    stream_.next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(data.data()));
    stream_.avail_in = static_cast<uint32_t>(data.size());
    stream_.end_of_stream = last ? 1 : 0;
  }
  bool needs_input() const { return stream_.avail_in == 0; }
  bool finished() const { return stream_.internal_state.state == ZSTATE_END; }
  Result<size_t> run(std::span<char> out) {
    stream_.next_out = reinterpret_cast<uint8_t*>(out.data());
    stream_.avail_out = static_cast<uint32_t>(out.size());
    if (int code = isal_deflate(&stream_); code != COMP_OK)
      return fail(ErrorKind::kInternal, "gzip encoder: code %d", code);
    return out.size() - stream_.avail_out;
  }

 private:
  isal_zstream stream_{};
  std::vector<uint8_t> level_buffer_;
};

}  // namespace

Result<std::unique_ptr<Decompressor>> Decompressor::open(ByteSource& inner, uint64_t max_output) {
  Input input(inner);
  TRY(input.fill_magic());
  std::unique_ptr<Decompressor> out;
  switch (Format format = detect(input.rest())) {
    case Format::kNone: out = std::make_unique<PlainSource>(std::move(input), format, max_output); break;
    case Format::kGzip: out = std::make_unique<GzipDecoder>(std::move(input), max_output); break;
    case Format::kZstd: out = std::make_unique<ZstdDecoder>(std::move(input), max_output); break;
    case Format::kXz:
    case Format::kBzip2: return fail(ErrorKind::kUnsupported, "%s compression is not supported", format_name(format));
  }
  return out;
}

struct GzipSink::State {
  explicit State(ByteSink& sink) : inner(sink), buffer(kBufferSize) {}
  Result<> pump(std::string_view data, bool last) {
    do {
      // The encoder's lengths are 32 bits wide.
      std::string_view part = data.substr(0, 1 << 30);
      data.remove_prefix(part.size());
      deflater.set_input(part, last && data.empty());
      size_t got;
      do {
        got = TRY(deflater.run(buffer));
        TRY(inner.write({buffer.data(), got}));
      } while (!deflater.needs_input() || got == buffer.size() || (last && data.empty() && !deflater.finished()));
    } while (!data.empty());
    return {};
  }
  ByteSink& inner;
  Deflater deflater;
  std::vector<char> buffer;
};

GzipSink::GzipSink(ByteSink& inner) : state_(std::make_unique<State>(inner)) {}
GzipSink::~GzipSink() = default;
Result<> GzipSink::write(std::string_view data) { return data.empty() ? Result<>() : state_->pump(data, false); }
Result<> GzipSink::finish() { return state_->pump({}, true); }

struct GzipSource::State {
  explicit State(ByteSource& source) : inner(source), buffer(kBufferSize) {}
  ByteSource& inner;
  Deflater deflater;
  std::vector<char> buffer;
  bool at_end = false;
};

GzipSource::GzipSource(ByteSource& inner) : state_(std::make_unique<State>(inner)) {}
GzipSource::~GzipSource() = default;

Result<size_t> GzipSource::read(std::span<char> out) {
  State& s = *state_;
  if (out.empty()) return 0;
  while (!s.deflater.finished()) {
    if (s.deflater.needs_input() && !s.at_end) {
      size_t got = TRY(s.inner.read(s.buffer));
      s.at_end = got == 0;
      s.deflater.set_input({s.buffer.data(), got}, s.at_end);
    }
    if (size_t made = TRY(s.deflater.run(out.first(std::min(out.size(), size_t{1} << 30))))) return made;
  }
  return 0;
}

}  // namespace caisson::compress
