// SPDX-License-Identifier: Apache-2.0
// OpenSSL objects with one owner, and contexts made of a TlsSetup. Internal to tls*.cc and caisson-tls.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "base/result.h"
#include "wire/tls_setup.h"

namespace caisson::http {

template <auto Free>
struct TlsDeleter {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using TlsContext = std::unique_ptr<SSL_CTX, TlsDeleter<SSL_CTX_free>>;
using TlsSession = std::unique_ptr<SSL, TlsDeleter<SSL_free>>;

// OpenSSL's own reason for the last failure; "" if it has none.
std::string take_tls_reason();

// TLS 1.2 and newer, no renegotiation, no resumption. kInvalid: the material is no good.
Result<TlsContext> make_tls_context(const TlsSetup& setup);

// A session over a non-blocking socket, at its handshake's start.
Result<TlsSession> make_tls_session(SSL_CTX* context, const TlsSetup& setup, int socket);

// Subject common name of the peer's certificate, "" without one; control bytes escaped, cut at 64 bytes.
std::string tls_common_name(SSL* session);

}  // namespace caisson::http
