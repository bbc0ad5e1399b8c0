// SPDX-License-Identifier: Apache-2.0
// Bytes from the fetch worker to the store: pipes whose reader counts, bounds and checks what comes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "image/fetch_session.h"

namespace caisson::image {

struct Pipe {
  UniqueFd read_end, write_end;
};
Result<Pipe> make_pipe();

// Reads a descriptor, fails with kExhausted beyond `limit` bytes, tells how far it is.
class MeteredSource : public ByteSource {
 public:
  MeteredSource(int fd, int64_t limit, std::string what, std::function<void(int64_t)> on_bytes = {})
      : fd_(fd), limit_(limit), what_(std::move(what)), on_bytes_(std::move(on_bytes)) {}
  Result<size_t> read(std::span<char> buffer) override;
  int64_t bytes() const { return bytes_; }

 private:
  int fd_;
  int64_t limit_, bytes_ = 0;
  std::string what_;
  std::function<void(int64_t)> on_bytes_;
};

struct Document {
  FetchReply reply;
  std::string body;
};
// A job whose one descriptor is a pipe for a document of at most `limit` bytes.
Result<Document> fetch_document(FetchSession& session, FetchJob job, int64_t limit, FetchReply* failed = nullptr);

}  // namespace caisson::image
