// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 syntax without any I/O: message heads, body framing, the chunked coding. Strict, so that no
// peer in front of or behind us can read a message's borders differently (request smuggling).
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "wire/http.h"

namespace caisson::http {

// What is wrong with a message and the status a server answers it with.
struct ParseFailure {
  int status = 400;
  std::string message;
};
template <class T>
using Parsed = std::expected<T, ParseFailure>;

enum class Framing : uint8_t { kNone, kLength, kChunked, kUntilClose };

struct MessageHead {
  int minor_version = 1;  // of HTTP/1.x
  Headers headers;
  Framing framing = Framing::kNone;
  uint64_t content_length = 0;  // for kLength
  bool keep_alive = true;
};

struct RequestHead : MessageHead {
  std::string method;
  std::string target;  // as sent
  std::string path;    // decoded, starts with '/'
  std::string query;   // as sent, without '?'
  bool expect_continue = false;
};

struct ResponseHead : MessageHead {
  int status = 0;
};

// Position just behind the empty line that ends a head, 0 if it is not there yet. `from` is where an
// earlier call on a shorter buffer stopped looking (updated). Fails on a bare LF.
Parsed<size_t> find_head_end(std::string_view buffer, size_t& from);

// `head` ends with the empty line.
Parsed<RequestHead> parse_request_head(std::string_view head, size_t max_headers);
// `to_head_request`: the answer has no body whatever its headers say.
Parsed<ResponseHead> parse_response_head(std::string_view head, size_t max_headers, bool to_head_request);

// True if the comma list of tokens has `token`, compared without case.
bool has_token(std::string_view list, std::string_view token);

// Decodes a chunked body piece by piece. Extensions and trailers are read over, within limits.
class ChunkedDecoder {
 public:
  struct Step {
    size_t consumed = 0;    // bytes of the input that are done with
    std::string_view data;  // body bytes, a part of the input
  };
  // One step: takes input up to the end of the next piece of data. Call again while consumed > 0.
  Parsed<Step> next(std::string_view input);
  bool done() const { return state_ == State::kDone; }

 private:
  enum class State : uint8_t {
    kSize,
    kExtension,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailer,
    kTrailerText,
    kTrailerLf,
    kEndLf,
    kDone
  };
  std::expected<void, ParseFailure> framing_byte(char c);
  State state_ = State::kSize;
  uint8_t digits_ = 0;
  uint64_t left_ = 0;
  size_t overhead_ = 0;  // extension and trailer bytes so far
};

}  // namespace caisson::http
