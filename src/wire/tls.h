// SPDX-License-Identifier: Apache-2.0
// TLS client connections (OpenSSL) over any Transport. Only programs that use this file link OpenSSL's
// TLS; the trust store is loaded on first use (some 20 ms), so keep one TlsClient per set of options.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "wire/http_client.h"

namespace caisson::http {

struct TlsClientOptions {
  std::string server_name;  // host name or IP address, for SNI and the certificate check
  std::string ca_file;      // trusted in addition to the system's certificates
  std::string cert_file;    // the client's own certificate and key, PEM
  std::string key_file;
  bool skip_verify = false;
  bool only_ca_file = false;  // trust nothing but ca_file (Docker's --tlscacert)
  bool offer_http2 = false;   // Transport::protocol() says whether the server took it
};

// Thread-safe; the transports it makes are used by one thread each. The server name of the options is
// ignored: each connection gives its own.
class TlsClient {
 public:
  explicit TlsClient(TlsClientOptions options);
  ~TlsClient();
  // Handshakes over `plain`, blocking. kDenied if the certificate does not pass, kUnavailable if the peer
  // breaks off or speaks something else.
  Result<std::unique_ptr<Transport>> wrap(std::unique_ptr<Transport> plain, const std::string& server_name);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// One connection with options of its own.
Result<std::unique_ptr<Transport>> wrap_tls_client(std::unique_ptr<Transport> plain, const TlsClientOptions& options);

}  // namespace caisson::http
