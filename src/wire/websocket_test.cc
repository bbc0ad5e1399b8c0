// SPDX-License-Identifier: Apache-2.0
#include "wire/websocket.h"

#include <doctest/doctest.h>

#include "wire/base64.h"

using namespace caisson;
using websocket::FrameReader;
using websocket::Opcode;

namespace {
// As clients send them.
std::string masked(int first, std::string payload) {
  std::string out = websocket::frame(Opcode::kBinary, payload);
  size_t head = out.size() - payload.size();
  out[0] = static_cast<char>(first);
  out[1] = static_cast<char>(out[1] | 0x80);
  const char mask[] = {1, 2, 3, 4};
  for (size_t i = 0; i < payload.size(); ++i) out[head + i] = static_cast<char>(out[head + i] ^ mask[i % 4]);
  return out.insert(head, mask, 4);
}
// "opcode:data;..." or the error.
std::string read(std::string_view bytes, size_t step) {
  FrameReader reader;
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += step) {
    reader.feed(bytes.substr(at, step));
    while (true) {
      auto piece = reader.next();
      if (!piece) return out + piece.error().message;
      if (!*piece) break;
      out += std::to_string(static_cast<int>((*piece)->opcode)) + ":" + (*piece)->data + ";";
    }
  }
  return out;
}
http::Headers handshake() {
  http::Headers out;
  out.add("Upgrade", "WebSocket");
  out.add("Connection", "keep-alive, Upgrade");
  out.add("Sec-WebSocket-Version", "13");
  out.add("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
  return out;
}
}  // namespace

TEST_CASE("websocket: the RFC's own handshake") {
  auto answer = websocket::accept(handshake());
  REQUIRE(answer);
  CHECK(answer->find("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") != std::string::npos);
  for (const char* name : {"Upgrade", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key"}) {
    auto headers = handshake();
    headers.set(name, "odd");
    CHECK(websocket::accept(headers).error().kind == ErrorKind::kInvalid);
  }
}

TEST_CASE("websocket: base64") {
  for (const char* text : {"", "a", "ab", "abc", "abcd"}) CHECK(base64_decode_url(base64_encode(text)) == text);
  CHECK(base64_encode("ab") == "YWI=");
}

TEST_CASE("websocket: frames out") {
  CHECK(websocket::frame(Opcode::kBinary, "hi") == std::string("\x82\x02hi"));
  CHECK(websocket::frame(Opcode::kBinary, std::string(300, 'x')).substr(0, 4) == std::string("\x82\x7e\x01\x2c", 4));
  CHECK(websocket::frame(Opcode::kBinary, std::string(70000, 'x')).substr(0, 10) ==
        std::string("\x82\x7f\0\0\0\0\0\x01\x11\x70", 10));
}

TEST_CASE("websocket: frames in, whole and piecewise") {
  CHECK(read(masked(0x82, "hello"), 1000) == "2:hello;");
  CHECK(read(masked(0x81, "hello"), 4) == "1:he;1:llo;");
  CHECK(read(masked(0x02, "a") + masked(0x89, "ping") + masked(0x80, "b"), 1000) == "2:a;9:ping;0:b;");
  CHECK(read(masked(0x82, "") + masked(0x88, ""), 1) == "8:;");
  std::string large(70000, 'y'), out = read(masked(0x82, large), 1 << 20);
  CHECK(out == "2:" + large + ";");
}

TEST_CASE("websocket: frames that break the protocol") {
  CHECK(read(websocket::frame(Opcode::kBinary, "bare"), 100) == "websocket: a client's frame is not masked");
  CHECK(read(masked(0xc2, "x"), 100) == "websocket: reserved bits are set");
  CHECK(read(masked(0x83, "x"), 100) == "websocket: unknown opcode");
  CHECK(read(masked(0x8b, "x"), 100) == "websocket: unknown opcode");
  CHECK(read(masked(0x80, "x"), 100) == "websocket: frames of a message are out of order");
  CHECK(read(masked(0x89, std::string(126, 'x')), 1000) == "websocket: a control frame is too long or in pieces");
  CHECK(read(masked(0x09, "x"), 100) == "websocket: a control frame is too long or in pieces");
  CHECK(read(std::string("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14), 100) ==
        "websocket: a frame is too long");
}
