// SPDX-License-Identifier: Apache-2.0
// One TLS connection on an event loop, and the plain stream that it stands for: handshake, bytes both ways,
// half-closes both ways (close_notify on one side, the end of input on the other). Knows no HTTP.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "sys/event_loop.h"
#include "wire/tls_session.h"

namespace caisson::http {

class TlsRelay : public std::enable_shared_from_this<TlsRelay> {
 public:
  struct Callbacks {
    // The peer has shown who it is: gives the relay its end of the plain stream, none to hang up.
    std::function<UniqueFd(const std::string& common_name)> secured;
    // Once, and not inside start(); `reason` is empty where both sides have ended in good order.
    std::function<void(TlsRelay&, const std::string& reason)> ended;
  };
  TlsRelay(sys::EventLoop& loop, TlsSession session, UniqueFd socket, Callbacks callbacks);
  ~TlsRelay();

  Result<> start(int64_t handshake_ms);
  void end(const std::string& reason);
  bool in_handshake() const { return state_ == State::kHandshake; }

 private:
  enum class State : unsigned char { kHandshake, kOpen, kLinger, kEnded };

  void on_socket(uint32_t events);
  void on_plain(uint32_t events);
  void step();
  bool shake_hands();
  bool read_socket();
  bool write_plain();
  bool read_plain();
  bool write_socket();
  void close_directions();
  void linger();
  void arm();
  // True: to be tried again when the socket is ready; false after end().
  bool would_block(int outcome, const char* doing);
  void deadline(int64_t after_ms, const char* reason);

  sys::EventLoop& loop_;
  TlsSession session_;
  UniqueFd socket_, plain_;
  Callbacks callbacks_;
  State state_ = State::kHandshake;
  std::string to_plain_, to_socket_;  // what the other side has not taken yet; one record each at most
  bool socket_wants_in_ = false, socket_wants_out_ = false;
  bool socket_ended_ = false, plain_ended_ = false;    // nothing more to read
  bool socket_closed_ = false, plain_closed_ = false;  // nothing more is written: close_notify, SHUT_WR
  bool socket_gone_ = false, plain_gone_ = false;      // hung up: out of the loop, read until the end
  uint32_t socket_armed_ = 0, plain_armed_ = 0;
  sys::EventLoop::TimerId timer_ = 0;
  bool step_posted_ = false;
};

}  // namespace caisson::http
