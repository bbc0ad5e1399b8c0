// SPDX-License-Identifier: Apache-2.0
#include "wire/tls_session.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/text.h"

namespace caisson::http {

namespace {

using Bio = std::unique_ptr<BIO, TlsDeleter<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, TlsDeleter<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, TlsDeleter<EVP_PKEY_free>>;

constexpr int kMaxAuthorities = 4096;

Bio memory_of(const std::string& text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

std::unexpected<Error> bad(const char* what) {
  std::string reason = take_tls_reason();
  return fail(ErrorKind::kInvalid, "%s: %s", what, reason.empty() ? "not PEM" : reason.c_str());
}

Result<> use_certificate(SSL_CTX* context, const TlsSetup& setup) {
  Bio file = memory_of(setup.certificate);
  Certificate own(PEM_read_bio_X509_AUX(file.get(), nullptr, nullptr, nullptr));
  if (!own || SSL_CTX_use_certificate(context, own.get()) != 1) return bad("could not load the certificate");
  while (X509* next = PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr))
    if (SSL_CTX_add0_chain_cert(context, next) != 1) {
      X509_free(next);
      return bad("could not load the certificate's chain");
    }
  ERR_clear_error();  // the end of the file
  Bio key_file = memory_of(setup.key);
  // An encrypted key would ask a terminal for its password.
  auto no_password = [](char*, int, int, void*) { return 0; };
  Key key(PEM_read_bio_PrivateKey(key_file.get(), nullptr, no_password, nullptr));
  if (!key) return bad("could not load the key");
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1) return bad("the key does not belong to the certificate");
  return {};
}

Result<> trust(SSL_CTX* context, const std::string& pem, bool announce) {
  Bio file = memory_of(pem);
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  int count = 0;
  while (Certificate authority{PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr)}) {
    if (X509_STORE_add_cert(store, authority.get()) != 1) return bad("could not trust a certificate authority");
    if (announce) SSL_CTX_add_client_CA(context, authority.get());
    if (++count > kMaxAuthorities) return fail(ErrorKind::kInvalid, "too many certificate authorities");
  }
  if (count == 0) return bad("could not load the certificate authorities");
  ERR_clear_error();
  return {};
}

int choose_protocol(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned int in_size,
                    void*) {
  static constexpr unsigned char kHttp[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, size, kHttp, sizeof kHttp - 1, in, in_size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_NOACK;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

std::string take_tls_reason() {
  unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* text = code ? ERR_reason_error_string(code) : nullptr;
  return text ? text : "";
}

Result<TlsContext> make_tls_context(const TlsSetup& setup) {
  ERR_clear_error();
  TlsContext context(SSL_CTX_new(setup.server ? TLS_server_method() : TLS_client_method()));
  if (!context) return bad("making a context");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (!setup.certificate.empty() || setup.server) TRY(use_certificate(context.get(), setup));
  if (!setup.ca.empty()) {
    TRY(trust(context.get(), setup.ca, setup.server));
  } else if (setup.verify) {
    if (SSL_CTX_set_default_verify_paths(context.get()) != 1) return bad("loading the system's authorities");
  }
  int mode = setup.verify ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE;
  SSL_CTX_set_verify(context.get(), mode, nullptr);
  if (setup.server) SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, nullptr);
  return context;
}

Result<TlsSession> make_tls_session(SSL_CTX* context, const TlsSetup& setup, int socket) {
  ERR_clear_error();
  TlsSession session(SSL_new(context));
  if (!session || SSL_set_fd(session.get(), socket) != 1)
    return fail(ErrorKind::kExhausted, "making a session: %s", take_tls_reason().c_str());
  if (setup.server) {
    SSL_set_accept_state(session.get());
    return session;
  }
  SSL_set_connect_state(session.get());
  const char* name = setup.server_name.c_str();
  unsigned char binary[16];
  bool is_address = inet_pton(AF_INET, name, binary) == 1 || inet_pton(AF_INET6, name, binary) == 1;
  bool named =
      !setup.server_name.empty() &&
      (is_address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session.get()), name) == 1
                  : SSL_set_tlsext_host_name(session.get(), name) == 1 && SSL_set1_host(session.get(), name) == 1);
  if (!named) return fail(ErrorKind::kInvalid, "server name %s is not usable", quoted(setup.server_name).c_str());
  return session;
}

std::string tls_common_name(SSL* session) {
  X509* peer = SSL_get0_peer_certificate(session);
  if (!peer) return {};
  char text[65] = "";
  if (X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, text, sizeof text) < 0) return {};
  std::string name = quoted(text);
  return name.substr(1, name.size() - 2);
}

}  // namespace caisson::http
