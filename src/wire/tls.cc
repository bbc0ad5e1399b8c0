// SPDX-License-Identifier: Apache-2.0
#include "wire/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <mutex>

#include "base/text.h"

namespace caisson::http {

namespace {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Context = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;
using Session = std::unique_ptr<SSL, Deleter<SSL_free>>;

// OpenSSL's own reason; "" if it has none.
std::string take_reason() {
  unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* text = code ? ERR_reason_error_string(code) : nullptr;
  return text ? text : "";
}

// OpenSSL reads and writes through the Transport: its own socket BIO would raise SIGPIPE, and tests
// have no sockets to give.
struct Wire {
  std::unique_ptr<Transport> plain;
  std::optional<Error> error;  // of the last failed read or write
};

Wire& wire_of(BIO* bio) { return *static_cast<Wire*>(BIO_get_data(bio)); }

int bio_read(BIO* bio, char* buffer, int size) {
  Wire& wire = wire_of(bio);
  auto got = wire.plain->read({buffer, static_cast<size_t>(size)});
  if (!got) wire.error = std::move(got).error();
  return got ? static_cast<int>(*got) : -1;
}

int bio_write(BIO* bio, const char* data, int size) {
  Wire& wire = wire_of(bio);
  auto done = wire.plain->write({data, static_cast<size_t>(size)});
  if (!done) wire.error = std::move(done).error();
  return done ? size : -1;
}

long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

class TlsTransport : public Transport {
 public:
  TlsTransport(Session session, std::unique_ptr<Wire> wire) : wire_(std::move(wire)), session_(std::move(session)) {}
  ~TlsTransport() override {
    // close_notify, so that a peer that counts on it sees no truncation; its answer is not awaited.
    if (!broken_) SSL_shutdown(session_.get());
    ERR_clear_error();
  }

  int fd() const override { return wire_->plain->fd(); }
  UniqueFd release() override { return {}; }
  std::string protocol() const override {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(session_.get(), &name, &size);
    return std::string(reinterpret_cast<const char*>(name), size);
  }

  Result<size_t> read(std::span<char> buffer) override {
    size_t got = 0;
    if (SSL_read_ex(session_.get(), buffer.data(), buffer.size(), &got) == 1) return got;
    if (SSL_get_error(session_.get(), 0) == SSL_ERROR_ZERO_RETURN) return 0;
    return failure("read");
  }

  Result<> write(std::string_view data) override {
    size_t sent = 0;
    if (data.empty() || SSL_write_ex(session_.get(), data.data(), data.size(), &sent) == 1) return {};
    return failure("write");
  }

  Result<> handshake(const std::string& server_name) {
    if (SSL_connect(session_.get()) == 1) return {};
    broken_ = true;
    long verdict = SSL_get_verify_result(session_.get());
    if (verdict != X509_V_OK) {
      take_reason();
      return fail(ErrorKind::kDenied, "tls: verifying the certificate of '%s': %s", server_name.c_str(),
                  X509_verify_cert_error_string(verdict));
    }
    return failure("handshake");
  }

 private:
  std::unexpected<Error> failure(const char* doing) {
    broken_ = true;
    std::string reason = take_reason();
    if (wire_->error) return with_context(*wire_->error, std::string("tls: ") + doing);
    return fail(ErrorKind::kUnavailable, "tls: %s: %s", doing,
                reason.empty() ? "the peer closed the connection" : reason.c_str());
  }

  std::unique_ptr<Wire> wire_;
  Session session_;
  bool broken_ = false;
};

}  // namespace

struct TlsClient::State {
  TlsClientOptions options;
  std::mutex mutex;  // guards the first use
  Context context;
  BIO_METHOD* method = nullptr;
  ~State() {
    if (method) BIO_meth_free(method);
  }
  Result<> prepare();
};

Result<> TlsClient::State::prepare() {
  std::lock_guard lock(mutex);
  if (context) return {};
  Context fresh(SSL_CTX_new(TLS_client_method()));
  if (!fresh) return fail(ErrorKind::kInternal, "tls: making a context: %s", take_reason().c_str());
  SSL_CTX_set_min_proto_version(fresh.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(fresh.get(), SSL_OP_IGNORE_UNEXPECTED_EOF);  // HTTP tells truncation by itself
  SSL_CTX_set_mode(fresh.get(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_verify(fresh.get(), options.skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  if (!options.skip_verify && !(options.only_ca_file && !options.ca_file.empty()))
    SSL_CTX_set_default_verify_paths(fresh.get());
  if (!options.ca_file.empty() && SSL_CTX_load_verify_file(fresh.get(), options.ca_file.c_str()) != 1)
    return fail(ErrorKind::kInvalid, "tls: reading certificates from '%s': %s", options.ca_file.c_str(),
                take_reason().c_str());
  if (!options.cert_file.empty()) {
    const std::string& key = options.key_file.empty() ? options.cert_file : options.key_file;
    if (SSL_CTX_use_certificate_chain_file(fresh.get(), options.cert_file.c_str()) != 1)
      return fail(ErrorKind::kInvalid, "tls: reading certificate '%s': %s", options.cert_file.c_str(),
                  take_reason().c_str());
    if (SSL_CTX_use_PrivateKey_file(fresh.get(), key.c_str(), SSL_FILETYPE_PEM) != 1)
      return fail(ErrorKind::kInvalid, "tls: reading key '%s': %s", key.c_str(), take_reason().c_str());
  }
  method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "transport");
  if (!method) return fail(ErrorKind::kInternal, "tls: making a channel: %s", take_reason().c_str());
  BIO_meth_set_read(method, bio_read);
  BIO_meth_set_write(method, bio_write);
  BIO_meth_set_ctrl(method, bio_control);
  context = std::move(fresh);
  return {};
}

TlsClient::TlsClient(TlsClientOptions options) : state_(std::make_unique<State>()) {
  state_->options = std::move(options);
}
TlsClient::~TlsClient() = default;

Result<std::unique_ptr<Transport>> TlsClient::wrap(std::unique_ptr<Transport> plain, const std::string& server_name) {
  TRY(state_->prepare());
  ERR_clear_error();
  Session session(SSL_new(state_->context.get()));
  BIO* bio = session ? BIO_new(state_->method) : nullptr;
  if (!bio) return fail(ErrorKind::kExhausted, "tls: making a session: %s", take_reason().c_str());
  auto wire = std::make_unique<Wire>(std::move(plain));
  BIO_set_data(bio, wire.get());
  BIO_set_init(bio, 1);
  SSL_set_bio(session.get(), bio, bio);

  unsigned char binary[16];
  bool is_address =
      inet_pton(AF_INET, server_name.c_str(), binary) == 1 || inet_pton(AF_INET6, server_name.c_str(), binary) == 1;
  bool named = is_address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session.get()), server_name.c_str()) == 1
                          : SSL_set_tlsext_host_name(session.get(), server_name.c_str()) == 1 &&
                                SSL_set1_host(session.get(), server_name.c_str()) == 1;
  if (!named || server_name.empty())
    return fail(ErrorKind::kInvalid, "tls: server name %s is not usable", quoted(server_name).c_str());
  static constexpr unsigned char kProtocols[] = "\x02h2\x08http/1.1";
  static constexpr unsigned kHttp2Size = 3;
  unsigned skipped = state_->options.offer_http2 ? 0 : kHttp2Size;
  SSL_set_alpn_protos(session.get(), kProtocols + skipped, sizeof kProtocols - 1 - skipped);

  auto transport = std::make_unique<TlsTransport>(std::move(session), std::move(wire));
  TRY(transport->handshake(server_name));
  return transport;
}

Result<std::unique_ptr<Transport>> wrap_tls_client(std::unique_ptr<Transport> plain, const TlsClientOptions& options) {
  TlsClient client(options);
  return client.wrap(std::move(plain), options.server_name);
}

}  // namespace caisson::http
