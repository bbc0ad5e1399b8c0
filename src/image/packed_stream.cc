// SPDX-License-Identifier: Apache-2.0
#include "image/packed_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <vector>

#include "image/fetch_session.h"
#include "image/pull_stream.h"
#include "wire/compress.h"
#include "wire/compress_peek.h"

namespace caisson::image {

namespace {

class LocalStream : public ByteSource {
 public:
  explicit LocalStream(std::unique_ptr<compress::PeekedSource> packed) : packed_(std::move(packed)) {}
  Result<> start() {
    decoder_ = TRY(compress::Decompressor::open(*packed_, kMaxStreamBytes));
    return {};
  }
  Result<size_t> read(std::span<char> buffer) override { return decoder_->read(buffer); }

 private:
  std::unique_ptr<compress::PeekedSource> packed_;
  std::unique_ptr<compress::Decompressor> decoder_;
};

// Both pipes of the worker are served by the reading thread: a thread of its own for the input could hang in a client
// that sends nothing, and nobody could end it.
class WorkerStream : public ByteSource {
 public:
  explicit WorkerStream(std::unique_ptr<compress::PeekedSource> packed)
      : packed_(std::move(packed)), buffer_(64 << 10) {}

  ~WorkerStream() override {
    to_worker_.reset();
    from_worker_.reset();
    if (session_) session_->abort();
    if (caller_.joinable()) caller_.join();
  }

  Result<> start(const std::string& fetch_program) {
    FetchConfig config;
    config.fetch_program = fetch_program;
    FetchSetup setup;
    setup.host = "localhost";  // nothing is fetched
    session_ = TRY(FetchSession::start(config, setup, nullptr));
    Pipe in = TRY(make_pipe()), out = TRY(make_pipe());
    to_worker_ = std::move(in.write_end);
    from_worker_ = std::move(out.read_end);
    for (int fd : {to_worker_.get(), from_worker_.get()})
      if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) return fail_errno("fcntl");
    std::vector<UniqueFd> fds;
    fds.push_back(std::move(in.read_end));
    fds.push_back(std::move(out.write_end));
    caller_ = std::thread([this, given = std::move(fds)]() mutable {
      reply_ = session_->call(FetchJob{.kind = "unpack"}, std::move(given));
    });
    return {};
  }

  Result<size_t> read(std::span<char> out) override {
    if (out.empty() || at_end_) return size_t{0};
    while (true) {
      ssize_t got = ::read(from_worker_.get(), out.data(), out.size());
      if (got > 0) return count(static_cast<size_t>(got));
      if (got == 0) return finish();
      if (errno != EAGAIN && errno != EINTR) return fail_errno("reading from the worker");
      TRY(feed());
    }
  }

 private:
  Result<size_t> count(size_t got) {
    given_ += got;
    if (given_ > kMaxStreamBytes || given_ > kFreeStreamBytes + taken_ * kMaxStreamRatio)
      return fail(ErrorKind::kExhausted, "decompressed data is larger than allowed");
    return got;
  }

  // Passes input on, or waits until the worker takes or gives something.
  Result<> feed() {
    if (to_worker_ && begin_ == end_) {
      begin_ = 0;
      end_ = TRY(packed_->read(buffer_));
      taken_ += end_;
      if (end_ == 0) to_worker_.reset();
    }
    if (to_worker_) {
      ssize_t sent = ::write(to_worker_.get(), buffer_.data() + begin_, end_ - begin_);
      if (sent > 0) begin_ += static_cast<size_t>(sent);
      if (sent > 0 || errno == EINTR) return {};
      // A worker that is done with its input says why on its own.
      if (errno != EAGAIN) to_worker_.reset();
    }
    pollfd wanted[] = {{from_worker_.get(), POLLIN, 0}, {to_worker_ ? to_worker_.get() : -1, POLLOUT, 0}};
    if (poll(wanted, 2, -1) < 0 && errno != EINTR) return fail_errno("poll");
    return {};
  }

  Result<size_t> finish() {
    to_worker_.reset();
    if (caller_.joinable()) caller_.join();
    at_end_ = true;
    if (!reply_) return std::unexpected(std::move(reply_).error());
    return size_t{0};
  }

  std::unique_ptr<compress::PeekedSource> packed_;
  std::unique_ptr<FetchSession> session_;
  UniqueFd to_worker_, from_worker_;
  std::thread caller_;
  Result<FetchReply> reply_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  uint64_t taken_ = 0, given_ = 0;
  bool at_end_ = false;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> open_stream(ByteSource& packed, const std::string& fetch_program) {
  auto peeked = TRY(compress::PeekedSource::open(packed));
  auto format = peeked->format();
  if (format == compress::Format::kXz || format == compress::Format::kBzip2) {
    auto stream = std::make_unique<WorkerStream>(std::move(peeked));
    TRY(stream->start(fetch_program));
    return stream;
  }
  auto stream = std::make_unique<LocalStream>(std::move(peeked));
  TRY(stream->start());
  return stream;
}

}  // namespace caisson::image
