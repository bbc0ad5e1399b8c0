// SPDX-License-Identifier: Apache-2.0
// Two relays back to back on one loop: plain stream, TLS client, TLS server, plain stream.
#include "wire/tls_relay.h"

#include <doctest/doctest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>

#include "sys/unix_socket.h"

using namespace caisson;
using namespace caisson::http;

namespace {

template <class Write>
std::string pem(Write write) {
  BIO* file = BIO_new(BIO_s_mem());
  write(file);
  char* data = nullptr;
  long size = BIO_get_mem_data(file, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(file);
  return text;
}

struct RelayIdentity {
  std::string certificate, key;
  explicit RelayIdentity(const char* name) {
    EVP_PKEY* pair = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
    X509* made = X509_new();
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
    X509_gmtime_adj(X509_getm_notBefore(made), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made), 3600);
    X509_set_pubkey(made, pair);
    X509_NAME* subject = X509_get_subject_name(made);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    X509_set_issuer_name(made, subject);
    X509_EXTENSION* names = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:localhost");
    X509_add_ext(made, names, -1);
    X509_EXTENSION_free(names);
    X509_sign(made, pair, EVP_sha256());
    certificate = pem([&](BIO* file) { PEM_write_bio_X509(file, made); });
    key = pem([&](BIO* file) { PEM_write_bio_PrivateKey(file, pair, nullptr, nullptr, 0, nullptr, nullptr); });
    X509_free(made);
    EVP_PKEY_free(pair);
  }
};

// What became of one side.
struct Side {
  UniqueFd far;  // the test's end of the plain stream
  std::string peer, reason;
  bool secured = false, ended = false;
  std::shared_ptr<TlsRelay> relay;
};

struct Bench {
  std::unique_ptr<sys::EventLoop> loop = std::move(*sys::EventLoop::create());
  RelayIdentity engine{"engine"}, alice{"alice"}, mallory{"mallory"};
  TlsContext contexts[2];
  Side server, client;
  bool timed_out = false;

  Bench() { signal(SIGPIPE, SIG_IGN); }

  void add(Side& side, TlsContext& context, const TlsSetup& setup, UniqueFd socket) {
    context = std::move(*make_tls_context(setup));
    auto session = make_tls_session(context.get(), setup, socket.get());
    REQUIRE(session);
    TlsRelay::Callbacks callbacks{
        .secured =
            [&](const std::string& name) {
              auto pair = std::move(*sys::socket_pair(SOCK_STREAM));
              side.far = std::move(pair.first);
              side.peer = name;
              side.secured = true;
              return std::move(pair.second);
            },
        .ended =
            [&](TlsRelay&, const std::string& reason) {
              side.ended = true;
              side.reason = reason;
            },
    };
    side.relay = std::make_shared<TlsRelay>(*loop, std::move(*session), std::move(socket), std::move(callbacks));
    REQUIRE(side.relay->start(60000));
  }

  void connect(const RelayIdentity& who, bool trust = true) {
    auto wire = std::move(*sys::socket_pair(SOCK_STREAM));
    TlsSetup server_setup{
        .server = true, .ca = alice.certificate, .certificate = engine.certificate, .key = engine.key};
    add(server, contexts[0], server_setup, std::move(wire.first));
    TlsSetup client_setup{.ca = trust ? engine.certificate : alice.certificate,
                          .certificate = who.certificate,
                          .key = who.key,
                          .server_name = "localhost"};
    add(client, contexts[1], client_setup, std::move(wire.second));
  }

  // Runs the loop until `done`, which is asked after every turn; a guard against a test that hangs.
  template <class Condition>
  bool until(Condition done) {
    auto guard = loop->after_ms(20000, [&] { timed_out = true; });
    bool good = false;
    std::function<void()> check = [&] {
      good = done();
      if (good || timed_out) return loop->stop();
      loop->after_ms(1, check);
    };
    check();
    if (!good) loop->run();
    loop->cancel(guard);
    return good;
  }
};

std::string take(int fd) {
  char buffer[65536];
  ssize_t got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
  return got > 0 ? std::string(buffer, static_cast<size_t>(got)) : std::string();
}

bool at_end(int fd) {
  char byte;
  return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

}  // namespace

TEST_CASE("tls relay: data, half-close and end, and the peer's name") {
  Bench bench;
  bench.connect(bench.alice);
  std::string sent(300000, 'x'), seen, back;
  size_t put = 0;
  int stage = 0;
  REQUIRE(bench.until([&] {
    if (stage == 0 && bench.server.secured && bench.client.secured) stage = 1;
    if (stage == 0) return false;
    seen += take(bench.server.far.get());
    if (put < sent.size()) {
      ssize_t n = send(bench.client.far.get(), sent.data() + put, sent.size() - put, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) put += static_cast<size_t>(n);
      if (put == sent.size()) shutdown(bench.client.far.get(), SHUT_WR);
    }
    // The other direction stays open.
    if (stage == 1 && seen.size() == sent.size() && at_end(bench.server.far.get())) {
      CHECK(send(bench.server.far.get(), "answer", 6, MSG_NOSIGNAL) == 6);
      bench.server.far.reset();
      stage = 2;
    }
    back += take(bench.client.far.get());
    return stage == 2 && back == "answer" && bench.server.ended && bench.client.ended;
  }));
  CHECK(seen == sent);
  CHECK(bench.server.peer == "alice");
  CHECK(bench.client.peer == "engine");
  CHECK(bench.server.reason == "");
}

TEST_CASE("tls relay: a client that was not vouched for gets no plain stream") {
  Bench bench;
  bench.connect(bench.mallory);
  REQUIRE(bench.until([&] { return bench.server.ended; }));
  CHECK(!bench.server.secured);
  CHECK(bench.server.reason.find("verifying the certificate") != std::string::npos);
}

TEST_CASE("tls relay: a server that was not vouched for is not spoken to") {
  Bench bench;
  bench.connect(bench.alice, false);
  REQUIRE(bench.until([&] { return bench.client.ended; }));
  CHECK(!bench.client.secured);
  CHECK(bench.client.reason.find("verifying the certificate") != std::string::npos);
}

TEST_CASE("tls relay: garbage and a peer that says nothing") {
  for (bool silent : {false, true}) {
    Bench bench;
    auto wire = std::move(*sys::socket_pair(SOCK_STREAM));
    TlsSetup setup{.server = true, .verify = false, .certificate = bench.engine.certificate, .key = bench.engine.key};
    bench.add(bench.server, bench.contexts[0], setup, std::move(wire.first));
    if (silent)
      wire.second.reset();
    else
      CHECK(send(wire.second.get(), "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL) == 18);
    REQUIRE(bench.until([&] { return bench.server.ended; }));
    CHECK(!bench.server.secured);
    CHECK(bench.server.reason != "");
  }
}

TEST_CASE("tls material that is no good is refused with what is wrong") {
  RelayIdentity one("one"), two("two");
  auto message = [](const TlsSetup& setup) {
    auto made = make_tls_context(setup);
    return made ? std::string() : made.error().message;
  };
  CHECK(message({.server = true, .verify = false, .certificate = one.certificate, .key = one.key}) == "");
  CHECK(message({.server = true, .verify = false, .certificate = "x", .key = one.key})
            .starts_with("could not load the certificate"));
  CHECK(message({.server = true, .verify = false, .certificate = one.certificate, .key = "x"})
            .starts_with("could not load the key"));
  CHECK(message({.server = true, .verify = false, .certificate = one.certificate, .key = two.key})
            .starts_with("the key does not belong to the certificate"));
  CHECK(message({.server = true, .ca = one.key, .certificate = one.certificate, .key = one.key})
            .starts_with("could not load the certificate authorities"));
}
