// SPDX-License-Identifier: Apache-2.0
// The server's side of WebSocket (RFC 6455): the handshake's answer and frames. No extensions, no sockets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "wire/http.h"

namespace caisson::websocket {

enum class Opcode : uint8_t { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

// The response head to a handshake, ready to be sent; kInvalid says what is wrong with the request.
Result<std::string> accept(const http::Headers& request);
// Sec-WebSocket-Accept for a key.
std::string accept_key(std::string_view key);

// One whole frame, unmasked as servers send them.
std::string frame(Opcode opcode, std::string_view payload);

// Frames of a client, fed piecewise. Data comes out as it arrives, control frames whole.
class FrameReader {
 public:
  struct Piece {
    Opcode opcode = Opcode::kBinary;  // of a message's later frames: kContinuation
    std::string data;
  };
  void feed(std::string_view bytes) { buffer_ += bytes; }
  // nullopt: more bytes are needed. kInvalid: the client breaks the protocol; the connection is of no use then.
  Result<std::optional<Piece>> next();

 private:
  Result<bool> read_head();
  std::string take(size_t size);

  std::string buffer_;
  bool in_frame_ = false;
  bool in_message_ = false;  // between the first and the last frame of one
  Opcode opcode_ = Opcode::kBinary;
  uint64_t left_ = 0;
  unsigned char mask_[4] = {};
  size_t mask_at_ = 0;
};

}  // namespace caisson::websocket
