// SPDX-License-Identifier: Apache-2.0
#include "wire/tls.h"

#include <doctest/doctest.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "sys/unix_socket.h"

using namespace caisson;
using namespace caisson::http;

namespace {

// A certificate for localhost and 127.0.0.1 that signs itself, in a file of its own.
struct Identity {
  EVP_PKEY* key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
  X509* certificate = X509_new();
  std::string path = "/tmp/caisson-tls-XXXXXX";

  Identity() {
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_EXTENSION* names = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    X509_add_ext(certificate, names, -1);
    X509_EXTENSION_free(names);
    X509_sign(certificate, key, EVP_sha256());
    UniqueFd fd(mkstemp(path.data()));
    FILE* file = fdopen(fd.release(), "w");
    PEM_write_X509(file, certificate);
    fclose(file);
  }
  ~Identity() {
    unlink(path.c_str());
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
};

// Handshakes, reads four bytes, answers them twice.
void serve(int fd, const Identity& identity) {
  signal(SIGPIPE, SIG_IGN);  // the client may have hung up on the certificate
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  SSL_CTX_use_certificate(context, identity.certificate);
  SSL_CTX_use_PrivateKey(context, identity.key);
  SSL* session = SSL_new(context);
  SSL_set_fd(session, fd);
  char buffer[4];
  if (SSL_accept(session) == 1 && SSL_read(session, buffer, 4) == 4) {
    SSL_write(session, buffer, 4);
    SSL_write(session, buffer, 4);
    SSL_shutdown(session);
  }
  SSL_free(session);
  SSL_CTX_free(context);
}

Result<std::string> talk(const Identity& identity, const TlsClientOptions& options) {
  auto pair = std::move(*sys::socket_pair(SOCK_STREAM));
  std::thread server([&] {
    serve(pair.first.get(), identity);
    pair.first.reset();
  });
  auto exchange = [&]() -> Result<std::string> {
    auto transport = TRY(wrap_tls_client(adopt_transport(std::move(pair.second)), options));
    TRY(transport->write("ping"));
    std::string text;
    char buffer[3];
    while (size_t got = TRY(transport->read(buffer))) text.append(buffer, got);
    return text;
  };
  auto result = exchange();
  server.join();
  return result;
}

}  // namespace

TEST_CASE("tls checks the certificate against the trusted ones and the name") {
  Identity identity, other;
  CHECK(*talk(identity, {.server_name = "localhost", .ca_file = identity.path}) == "pingping");
  CHECK(*talk(identity, {.server_name = "127.0.0.1", .ca_file = identity.path, .only_ca_file = true}) == "pingping");
  CHECK(*talk(identity, {.server_name = "elsewhere", .skip_verify = true}) == "pingping");
  auto error = [&](const TlsClientOptions& options) { return talk(identity, options).error(); };
  CHECK(error({.server_name = "localhost"}).kind == ErrorKind::kDenied);
  CHECK(error({.server_name = "localhost", .ca_file = other.path}).kind == ErrorKind::kDenied);
  CHECK(error({.server_name = "elsewhere", .ca_file = identity.path}).message ==
        "tls: verifying the certificate of 'elsewhere': hostname mismatch");
  CHECK(error({.server_name = "127.0.0.2", .ca_file = identity.path}).kind == ErrorKind::kDenied);
  CHECK(error({.server_name = "", .ca_file = identity.path}).kind == ErrorKind::kInvalid);
  CHECK(error({.server_name = "localhost", .ca_file = "/nonexistent"}).kind == ErrorKind::kInvalid);
}

TEST_CASE("tls to a peer that speaks something else") {
  auto pair = std::move(*sys::socket_pair(SOCK_STREAM));
  REQUIRE(write(pair.first.get(), "HTTP/1.1 400 Bad Request\r\n\r\n", 28) == 28);
  auto failed = wrap_tls_client(adopt_transport(std::move(pair.second)), {.server_name = "localhost"});
  CHECK(failed.error().kind == ErrorKind::kUnavailable);
  CHECK(failed.error().message.starts_with("tls: handshake: "));
}
