// SPDX-License-Identifier: Apache-2.0
#include "wire/websocket.h"

#include <openssl/evp.h>

#include <algorithm>

#include "base/text.h"
#include "wire/base64.h"

namespace caisson::websocket {

namespace {

constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455, section 1.3
constexpr size_t kMaxControl = 125;
constexpr uint64_t kMaxFrame = uint64_t{1} << 40;

bool has_token(std::optional<std::string_view> header, std::string_view token) {
  if (!header) return false;
  for (const auto& part : split(*header, ','))
    if (equals_ignore_case(trim(part), token)) return true;
  return false;
}

bool is_control(Opcode opcode) { return static_cast<uint8_t>(opcode) >= 8; }

std::unexpected<Error> broken(const char* what) { return fail(ErrorKind::kInvalid, "websocket: %s", what); }

}  // namespace

std::string accept_key(std::string_view key) {
  std::string text = std::string(key) + std::string(kGuid);
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), out, &size, EVP_sha1(), nullptr);
  return base64_encode({reinterpret_cast<const char*>(out), size});
}

Result<std::string> accept(const http::Headers& request) {
  if (!has_token(request.find("upgrade"), "websocket") || !has_token(request.find("connection"), "upgrade"))
    return broken("not a handshake: the headers 'Upgrade: websocket' and 'Connection: Upgrade' are needed");
  if (trim(request.find("sec-websocket-version").value_or("")) != "13") return broken("only version 13 is supported");
  std::string key(trim(request.find("sec-websocket-key").value_or("")));
  auto nonce = base64_decode_url(key);
  if (!nonce || nonce->size() != 16) return broken("the header 'Sec-WebSocket-Key' is missing or wrong");
  std::string out =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
      accept_key(key) + "\r\n";
  // Of the protocols that the client offers the first is as good as any: there are only bytes.
  if (auto offered = request.find("sec-websocket-protocol"))
    if (std::string first(trim(split(*offered, ',')[0])); !first.empty())
      out += "Sec-WebSocket-Protocol: " + first + "\r\n";
  return out + "\r\n";
}

std::string frame(Opcode opcode, std::string_view payload) {
  std::string out(1, static_cast<char>(0x80 | static_cast<uint8_t>(opcode)));
  uint64_t size = payload.size();
  if (size < 126) {
    out += static_cast<char>(size);
  } else if (size < 65536) {
    out += static_cast<char>(126);
    out += static_cast<char>(size >> 8);
    out += static_cast<char>(size);
  } else {
    out += static_cast<char>(127);
    for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(size >> shift);
  }
  return out.append(payload);
}

Result<bool> FrameReader::read_head() {
  if (buffer_.size() < 2) return false;
  auto byte = [&](size_t at) { return static_cast<unsigned char>(buffer_[at]); };
  uint64_t size = byte(1) & 127;
  size_t extra = size == 126 ? 2 : size == 127 ? 8 : 0;
  if (byte(0) & 0x70) return broken("reserved bits are set");
  if (!(byte(1) & 0x80)) return broken("a client's frame is not masked");
  opcode_ = static_cast<Opcode>(byte(0) & 15);
  bool is_final = byte(0) & 0x80;
  if (is_control(opcode_)) {
    if (opcode_ > Opcode::kPong) return broken("unknown opcode");
    if (!is_final || size > kMaxControl) return broken("a control frame is too long or in pieces");
  } else {
    if (opcode_ > Opcode::kBinary) return broken("unknown opcode");
    if (in_message_ != (opcode_ == Opcode::kContinuation)) return broken("frames of a message are out of order");
  }
  if (buffer_.size() < 2 + extra + 4) return false;
  if (extra) {
    size = 0;
    for (size_t i = 0; i < extra; ++i) size = size << 8 | byte(2 + i);
  }
  if (size > kMaxFrame) return broken("a frame is too long");
  for (size_t i = 0; i < 4; ++i) mask_[i] = byte(2 + extra + i);
  buffer_.erase(0, 2 + extra + 4);
  if (!is_control(opcode_)) in_message_ = !is_final;
  left_ = size;
  mask_at_ = 0;
  in_frame_ = true;
  return true;
}

std::string FrameReader::take(size_t size) {
  std::string out = buffer_.substr(0, size);
  buffer_.erase(0, size);
  for (char& c : out) c = static_cast<char>(static_cast<unsigned char>(c) ^ mask_[mask_at_++ % 4]);
  left_ -= size;
  in_frame_ = left_ > 0;
  return out;
}

Result<std::optional<FrameReader::Piece>> FrameReader::next() {
  while (true) {
    if (!in_frame_ && !TRY(read_head())) return std::nullopt;
    if (is_control(opcode_)) {
      if (buffer_.size() < left_) return std::nullopt;
      return Piece{opcode_, take(static_cast<size_t>(left_))};
    }
    if (left_ == 0) {
      in_frame_ = false;  // an empty frame
      continue;
    }
    if (buffer_.empty()) return std::nullopt;
    return Piece{opcode_, take(static_cast<size_t>(std::min<uint64_t>(left_, buffer_.size())))};
  }
}

}  // namespace caisson::websocket
