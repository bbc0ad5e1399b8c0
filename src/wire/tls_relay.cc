// SPDX-License-Identifier: Apache-2.0
#include "wire/tls_relay.h"

#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "sys/unix_socket.h"

namespace caisson::http {

namespace {
constexpr size_t kTlsRecord = 16 << 10;
constexpr int kRelayRounds = 32;  // then others have their turn
constexpr int64_t kRelayLingerMs = 2000;
}  // namespace

TlsRelay::TlsRelay(sys::EventLoop& loop, TlsSession session, UniqueFd socket, Callbacks callbacks)
    : loop_(loop), session_(std::move(session)), socket_(std::move(socket)), callbacks_(std::move(callbacks)) {}

TlsRelay::~TlsRelay() = default;

Result<> TlsRelay::start(int64_t handshake_ms) {
  TRY(sys::set_nonblocking(socket_.get(), true));
  socket_armed_ = EPOLLIN | EPOLLOUT;
  TRY(loop_.add(socket_.get(), socket_armed_,
                [self = shared_from_this()](uint32_t events) { self->on_socket(events); }));
  deadline(handshake_ms, "the handshake took too long");
  return {};
}

void TlsRelay::deadline(int64_t after_ms, const char* reason) {
  if (timer_) loop_.cancel(timer_);
  timer_ = loop_.after_ms(after_ms, [weak = weak_from_this(), reason] {
    auto self = weak.lock();
    if (!self) return;
    self->timer_ = 0;
    self->end(reason);
  });
}

void TlsRelay::end(const std::string& reason) {
  if (state_ == State::kEnded) return;
  state_ = State::kEnded;
  auto self = shared_from_this();
  if (timer_) loop_.cancel(timer_);
  timer_ = 0;
  if (!socket_gone_) loop_.remove(socket_.get());
  if (plain_ && !plain_gone_) loop_.remove(plain_.get());
  ERR_clear_error();
  // Told before the plain side sees it: who reads there may ask why.
  if (auto ended = std::move(callbacks_.ended)) ended(*this, reason);
  socket_.reset();
  plain_.reset();
}

// A hung-up descriptor cannot be silenced in the loop, so it leaves it; what it holds is read all the same.
void TlsRelay::on_socket(uint32_t events) {
  if (state_ == State::kEnded) return;
  if (state_ == State::kLinger) return linger();
  if (events & (EPOLLHUP | EPOLLERR)) {
    loop_.remove(socket_.get());
    socket_gone_ = true;
  }
  step();
}

void TlsRelay::on_plain(uint32_t events) {
  if (state_ != State::kOpen) return;
  if (events & (EPOLLHUP | EPOLLERR)) {
    loop_.remove(plain_.get());
    plain_gone_ = true;
  }
  step();
}

bool TlsRelay::would_block(int outcome, const char* doing) {
  int error = SSL_get_error(session_.get(), outcome);
  if (error == SSL_ERROR_WANT_READ) return socket_wants_in_ = true;
  if (error == SSL_ERROR_WANT_WRITE) return socket_wants_out_ = true;
  int number = errno;
  std::string reason;
  if (long verdict = SSL_get_verify_result(session_.get()); verdict != X509_V_OK && state_ == State::kHandshake)
    reason = std::string("verifying the certificate: ") + X509_verify_cert_error_string(verdict);
  if (reason.empty()) reason = take_tls_reason();
  if (reason.empty() && error == SSL_ERROR_SYSCALL && number) reason = errno_text(number);
  end(std::string(doing) + ": " + (reason.empty() ? "the peer closed the connection" : reason));
  return false;
}

// True when it is done.
bool TlsRelay::shake_hands() {
  ERR_clear_error();
  int outcome = SSL_do_handshake(session_.get());
  if (outcome != 1) {
    if (would_block(outcome, "handshake") && socket_gone_) end("handshake: the peer closed the connection");
    return false;
  }
  loop_.cancel(timer_);
  timer_ = 0;
  plain_ = callbacks_.secured(tls_common_name(session_.get()));
  if (!plain_ || !sys::set_nonblocking(plain_.get(), true)) return end("there is nobody to serve it"), false;
  state_ = State::kOpen;
  plain_armed_ = EPOLLIN;
  auto added =
      loop_.add(plain_.get(), plain_armed_, [self = shared_from_this()](uint32_t events) { self->on_plain(events); });
  if (added) return true;
  plain_gone_ = true;
  return end(added.error().message), false;
}

bool TlsRelay::read_socket() {
  if (socket_ended_ || !to_plain_.empty()) return false;
  char buffer[kTlsRecord];
  size_t got = 0;
  ERR_clear_error();
  int outcome = SSL_read_ex(session_.get(), buffer, sizeof buffer, &got);
  if (outcome == 1) {
    if (!plain_closed_) to_plain_.assign(buffer, got);  // else: nobody wants it
    return true;
  }
  if (SSL_get_error(session_.get(), outcome) == SSL_ERROR_ZERO_RETURN) return socket_ended_ = true;
  // An end without a close_notify is no end of the data: whoever cut the line may have cut the data.
  (void)would_block(outcome, "read");
  return false;
}

bool TlsRelay::write_plain() {
  if (to_plain_.empty()) return false;
  ssize_t sent = send(plain_.get(), to_plain_.data(), to_plain_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (sent < 0) {
    // An answer may be on its way all the same.
    plain_closed_ = true;
    std::string().swap(to_plain_);
    return true;
  }
  to_plain_.erase(0, static_cast<size_t>(sent));
  if (to_plain_.empty()) std::string().swap(to_plain_);
  return sent > 0;
}

bool TlsRelay::read_plain() {
  if (plain_ended_ || !to_socket_.empty()) return false;
  char buffer[kTlsRecord];
  ssize_t got = recv(plain_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got <= 0) return plain_ended_ = true;
  to_socket_.assign(buffer, static_cast<size_t>(got));
  return true;
}

bool TlsRelay::write_socket() {
  if (to_socket_.empty()) return false;
  size_t sent = 0;
  ERR_clear_error();
  int outcome = SSL_write_ex(session_.get(), to_socket_.data(), to_socket_.size(), &sent);
  if (outcome != 1) {
    (void)would_block(outcome, "write");
    return false;
  }
  to_socket_.erase(0, sent);
  if (to_socket_.empty()) std::string().swap(to_socket_);
  return true;
}

// Passes on the ends of input that have been reached and whose data has left.
void TlsRelay::close_directions() {
  if (socket_ended_ && to_plain_.empty() && !plain_closed_) {
    plain_closed_ = true;
    shutdown(plain_.get(), SHUT_WR);
  }
  if (plain_ended_ && to_socket_.empty() && !socket_closed_) {
    ERR_clear_error();
    if (SSL_shutdown(session_.get()) < 0 && SSL_get_error(session_.get(), -1) == SSL_ERROR_WANT_WRITE) {
      socket_wants_out_ = true;
      return;
    }
    socket_closed_ = true;
  }
  if (socket_closed_ && socket_ended_ && plain_closed_) return end("");
  if (socket_gone_ && socket_ended_ && to_plain_.empty()) return end("");
  if (!socket_closed_ || !plain_gone_) return;
  // The plain side is gone for good. Closing at once could reset the connection under the last answer.
  if (socket_gone_) return end("");
  shutdown(socket_.get(), SHUT_WR);
  state_ = State::kLinger;
  plain_.reset();
  deadline(kRelayLingerMs, "");
  (void)loop_.modify(socket_.get(), EPOLLIN);
}

void TlsRelay::linger() {
  char waste[kTlsRecord];
  for (int i = 0; i < kRelayRounds; ++i) {
    ssize_t got = recv(socket_.get(), waste, sizeof waste, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return end("");
  }
}

void TlsRelay::step() {
  auto self = shared_from_this();
  socket_wants_in_ = socket_wants_out_ = false;
  if (state_ == State::kHandshake && !shake_hands()) {
    if (state_ == State::kHandshake) arm();
    return;
  }
  bool moved = true;
  for (int round = 0; moved && round < kRelayRounds && state_ == State::kOpen; ++round) {
    moved = read_socket();
    if (state_ != State::kOpen) return;
    moved |= write_plain();
    moved |= read_plain();
    moved |= write_socket();
  }
  if (state_ != State::kOpen) return;
  close_directions();
  if (state_ != State::kOpen) return;
  arm();
  // What OpenSSL holds, or a side out of the loop, makes no event.
  if ((moved || (plain_gone_ && !plain_ended_ && to_socket_.empty())) && !step_posted_) {
    step_posted_ = true;
    loop_.post([self] {
      self->step_posted_ = false;
      if (self->state_ == State::kOpen) self->step();
    });
  }
}

void TlsRelay::arm() {
  bool shaking = state_ == State::kHandshake;
  uint32_t socket_wants = 0, plain_wants = 0;
  if (socket_wants_out_) socket_wants |= EPOLLOUT;
  if (socket_wants_in_ && (shaking || (!socket_ended_ && to_plain_.empty()))) socket_wants |= EPOLLIN;
  if (!socket_gone_ && socket_wants != socket_armed_ && loop_.modify(socket_.get(), socket_wants))
    socket_armed_ = socket_wants;
  if (shaking) return;
  if (!plain_ended_ && to_socket_.empty()) plain_wants |= EPOLLIN;
  if (!to_plain_.empty()) plain_wants |= EPOLLOUT;
  if (!plain_gone_ && plain_wants != plain_armed_ && loop_.modify(plain_.get(), plain_wants))
    plain_armed_ = plain_wants;
}

}  // namespace caisson::http
