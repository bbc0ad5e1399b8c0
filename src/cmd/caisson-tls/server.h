// SPDX-License-Identifier: Apache-2.0
// The engine's worker: sockets in, plain streams out, a bounded number of handshakes between.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "wire/tls_relay.h"

namespace caisson::tls {

class Server {
 public:
  Server(sys::EventLoop& loop, const http::TlsSetup& setup, SSL_CTX* context, int control);
  // Serves until the engine is gone and the last stream has ended; then the loop stops.
  Result<> start();

 private:
  void on_control();
  void accept(UniqueFd socket, const std::string& address);
  UniqueFd hand_over(const std::string& address, const std::string& common_name);
  void forget(http::TlsRelay& relay);
  void leave_if_done();

  sys::EventLoop& loop_;
  const http::TlsSetup& setup_;
  SSL_CTX* context_;
  int control_;
  bool engine_gone_ = false;
  std::unordered_map<http::TlsRelay*, std::shared_ptr<http::TlsRelay>> relays_;
  std::list<std::weak_ptr<http::TlsRelay>> handshakes_;  // oldest first; some have ended
};

}  // namespace caisson::tls
