// SPDX-License-Identifier: Apache-2.0
#include "cmd/caisson-tls/server.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/log.h"
#include "sys/unix_socket.h"

namespace caisson::tls {

namespace {
constexpr int64_t kHandshakeMs = 10000;
constexpr size_t kMaxHandshakes = 128;
constexpr size_t kMaxRelays = 4096;
}  // namespace

Server::Server(sys::EventLoop& loop, const http::TlsSetup& setup, SSL_CTX* context, int control)
    : loop_(loop), setup_(setup), context_(context), control_(control) {}

Result<> Server::start() {
  return loop_.add(control_, EPOLLIN, [this](uint32_t) { on_control(); });
}

void Server::on_control() {
  auto message = sys::receive_message(control_, http::kMaxTlsMessage);
  if (!message || message->data.empty()) {
    // Containers' streams outlive the engine; so does what carries them.
    engine_gone_ = true;
    loop_.remove(control_);
    for (auto& entry : handshakes_)
      if (auto relay = entry.lock(); relay && relay->in_handshake()) relay->end("the engine is gone");
    return leave_if_done();
  }
  auto request = json::decode<http::TlsMessage>(message->data);
  if (request && message->fds.size() == 1) accept(std::move(message->fds[0]), request->address);
}

void Server::accept(UniqueFd socket, const std::string& address) {
  if (relays_.size() >= kMaxRelays) return log_debug("tls: %s: too many connections", address.c_str());
  std::erase_if(handshakes_, [](auto& entry) {
    auto relay = entry.lock();
    return !relay || !relay->in_handshake();
  });
  // Whoever dawdles longest makes room: honest peers are through in a moment.
  if (handshakes_.size() >= kMaxHandshakes)
    if (auto oldest = handshakes_.front().lock()) oldest->end("too many handshakes at once");
  auto session = http::make_tls_session(context_, setup_, socket.get());
  if (!session) return log_warn("tls: %s", session.error().message.c_str());
  http::TlsRelay::Callbacks callbacks{
      .secured = [this, address](const std::string& name) { return hand_over(address, name); },
      .ended =
          [this, address](http::TlsRelay& relay, const std::string& reason) {
            if (!reason.empty()) log_debug("tls: %s: %s", address.c_str(), reason.c_str());
            forget(relay);
          },
  };
  auto relay = std::make_shared<http::TlsRelay>(loop_, std::move(*session), std::move(socket), std::move(callbacks));
  if (auto started = relay->start(kHandshakeMs); !started) return log_warn("tls: %s", started.error().message.c_str());
  handshakes_.push_back(relay);
  relays_.emplace(relay.get(), std::move(relay));
}

UniqueFd Server::hand_over(const std::string& address, const std::string& common_name) {
  auto pair = sys::socket_pair(SOCK_STREAM);
  if (!pair || engine_gone_) return {};
  http::TlsMessage message{.address = address, .common_name = common_name, .error = ""};
  if (auto sent = sys::send_message(control_, json::encode(message), {pair->second.get()}); !sent) {
    log_debug("tls: handing over: %s", sent.error().message.c_str());
    return {};
  }
  return std::move(pair->first);
}

void Server::forget(http::TlsRelay& relay) {
  loop_.post([this, key = &relay] {
    relays_.erase(key);
    leave_if_done();
  });
}

void Server::leave_if_done() {
  if (engine_gone_ && relays_.empty()) loop_.stop();
}

}  // namespace caisson::tls
