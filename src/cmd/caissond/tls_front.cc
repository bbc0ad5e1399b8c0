// SPDX-License-Identifier: Apache-2.0
#include "cmd/caissond/tls_front.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/text.h"
#include "sys/unix_socket.h"

namespace caisson {

namespace {

constexpr int kAcceptBatch = 64;
constexpr int64_t kReplaceMs = 1000;

std::string describe(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return format("%s:%d", text, ntohs(v4.sin_port));
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  return format("[%s]:%d", text, ntohs(v6.sin6_port));
}

}  // namespace

Result<> TlsFront::start() {
  worker_ = TRY(http::start_tls_worker(setup_, -1, -1));
  TRY(sys::set_nonblocking(worker_.control.get(), true));
  TRY(server_.loop().add(worker_.control.get(), EPOLLIN, [this](uint32_t events) {
    if (events & EPOLLOUT)
      on_writable();
    else
      on_message();
  }));
  arm_listeners(EPOLLIN);
  return {};
}

Result<> TlsFront::add_listener(UniqueFd listener) {
  TRY(sys::set_nonblocking(listener.get(), true));
  int number = listener.get();
  TRY(server_.loop().add(number, EPOLLIN, [this, number](uint32_t) { on_accept(number); }));
  listeners_.push_back(std::move(listener));
  return {};
}

void TlsFront::on_accept(int listener) {
  for (int i = 0; i < kAcceptBatch; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    UniqueFd socket(accept4(listener, reinterpret_cast<sockaddr*>(&address), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS) return;
      // The listener would stay readable and the loop would spin.
      log_warn("accepting a connection: %s", errno_text(errno).c_str());
      (void)server_.loop().modify(listener, 0);
      server_.loop().after_ms(100, [this, listener] { (void)server_.loop().modify(listener, EPOLLIN); });
      return;
    }
    int on = 1;
    setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (!worker_.control) continue;
    http::TlsMessage message{.address = describe(address), .common_name = "", .error = ""};
    std::string text = json::encode(message);
    if (pass_on(text, socket)) continue;
    waiting_ = std::move(socket);
    waiting_message_ = std::move(text);
    arm_listeners(0);
    (void)server_.loop().modify(worker_.control.get(), EPOLLIN | EPOLLOUT);
    return;
  }
}

bool TlsFront::pass_on(const std::string& message, UniqueFd& socket) {
  auto sent = sys::send_message(worker_.control.get(), message, {socket.get()});
  if (!sent && (sent.error().err == EAGAIN || sent.error().err == EINTR)) return false;
  if (!sent) log_debug("tls: passing a connection on: %s, ignoring", sent.error().message.c_str());
  return true;
}

void TlsFront::on_writable() {
  if (waiting_ && !pass_on(waiting_message_, waiting_)) return;
  waiting_.reset();
  (void)server_.loop().modify(worker_.control.get(), EPOLLIN);
  arm_listeners(EPOLLIN);
}

void TlsFront::arm_listeners(uint32_t events) {
  for (const UniqueFd& listener : listeners_) (void)server_.loop().modify(listener.get(), events);
}

void TlsFront::on_message() {
  auto message = sys::receive_message(worker_.control.get(), http::kMaxTlsMessage);
  if (!message && (message.error().err == EAGAIN || message.error().err == EINTR)) return;
  if (!message || message->data.empty()) return replace_worker();
  auto secured = json::decode<http::TlsMessage>(message->data);
  if (!secured || message->fds.size() != 1) return;
  http::PeerInfo peer;
  peer.address = std::move(secured->address);
  peer.common_name = std::move(secured->common_name);
  server_.adopt(std::move(message->fds[0]), std::move(peer));
}

void TlsFront::replace_worker() {
  log_warn("caisson-tls ended; another one is started");
  server_.loop().remove(worker_.control.get());
  worker_.control.reset();
  if (auto reaped = sys::reap_child(worker_.child.pidfd.get()); !reaped)
    log_debug("%s, ignoring", reaped.error().message.c_str());
  worker_ = {};
  waiting_.reset();
  server_.loop().after_ms(kReplaceMs, [this] {
    if (auto started = start(); !started) {
      log_error("tls: %s", started.error().message.c_str());
      replace_worker();
    }
  });
}

}  // namespace caisson
