// SPDX-License-Identifier: Apache-2.0
// TCP listeners with TLS: the engine accepts, caisson-tls shakes hands, the server gets plain streams. A
// worker that ends is replaced; the engine never reads a byte that was not decrypted by one.
#pragma once

#include <vector>

#include "wire/http_server.h"
#include "wire/tls_setup.h"

namespace caisson {

class TlsFront {
 public:
  TlsFront(http::Server& server, http::TlsSetup setup) : server_(server), setup_(std::move(setup)) {}
  // The first worker; kInvalid for certificates that are no good.
  Result<> start();
  Result<> add_listener(UniqueFd listener);

 private:
  void on_accept(int listener);
  void on_message();
  void on_writable();
  // False: the worker is behind, and accepting waits until it has caught up.
  bool pass_on(const std::string& message, UniqueFd& socket);
  void arm_listeners(uint32_t events);
  void replace_worker();

  http::Server& server_;
  const http::TlsSetup setup_;
  http::TlsWorker worker_;
  std::vector<UniqueFd> listeners_;
  std::string waiting_message_;  // of the socket that the worker has no room for yet
  UniqueFd waiting_;
};

}  // namespace caisson
