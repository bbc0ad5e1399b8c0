// SPDX-License-Identifier: Apache-2.0
#include "wire/registry_dial.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <vector>

#include "base/clock.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "sys/files.h"
#include "wire/registry_http2.h"
#include "wire/registry_proxy.h"
#include "wire/tls.h"

namespace caisson::registry {
namespace {

constexpr size_t kMaxAddresses = 8;

Result<std::vector<std::string>> look_up(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int status = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (status != 0) {
    bool unknown = status == EAI_NONAME || status == EAI_NODATA;
    return fail(ErrorKind::kUnavailable, "dial tcp: lookup %s: %s", host.c_str(),
                unknown ? "no such host" : gai_strerror(status));
  }
  std::vector<std::string> out;
  for (addrinfo* entry = found; entry && out.size() < kMaxAddresses; entry = entry->ai_next) {
    char text[NI_MAXHOST];
    if (getnameinfo(entry->ai_addr, entry->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0)
      out.emplace_back(text);
  }
  freeaddrinfo(found);
  if (out.empty()) return fail(ErrorKind::kUnavailable, "dial tcp: lookup %s: no such host", host.c_str());
  return out;
}

std::string dial_reason(const Error& error) {
  if (error.kind == ErrorKind::kTimeout || error.err == ETIMEDOUT) return "i/o timeout";
  return "connect: " + (error.err ? to_lower(errno_text(error.err)) : error.message);
}

// A peer that always sends something and never an end (a head byte by byte, interim answers, chunk extensions) is never
// silent: what the caller waits for has to come within a time, too.
class WatchedTransport : public http::Transport {
 public:
  WatchedTransport(std::unique_ptr<http::Transport> inner, int limit_s) : inner_(std::move(inner)), limit_s_(limit_s) {}
  void begin() { begun_ns_ = monotonic_ns(); }
  Result<size_t> read(std::span<char> buffer) override {
    auto got = inner_->read(buffer);
    if (got && monotonic_ns() - begun_ns_ > int64_t{limit_s_} * 1'000'000'000)
      return std::unexpected(Error{ErrorKind::kTimeout, ETIME, format("no end within %d s", limit_s_)});
    return got;
  }
  // An upload may take its time: the answer's begins with the last byte sent.
  Result<> write(std::string_view data) override {
    auto written = inner_->write(data);
    begin();
    return written;
  }
  int fd() const override { return inner_->fd(); }
  UniqueFd release() override { return inner_->release(); }
  std::string protocol() const override { return inner_->protocol(); }

 private:
  std::unique_ptr<http::Transport> inner_;
  const int limit_s_;
  int64_t begun_ns_ = 0;
};

class Http1Connection : public Connection {
 public:
  Http1Connection(std::unique_ptr<WatchedTransport> transport, std::string host)
      : watch_(*transport), client_(std::move(transport), std::move(host)) {}
  Result<http::ClientResponse> open(const http::ClientRequest& request) override {
    watch_.begin();
    return client_.open(request);
  }
  Result<size_t> read(std::span<char> buffer) override {
    watch_.begin();
    return client_.read(buffer);
  }
  bool reusable() const override { return client_.reusable(); }

 private:
  WatchedTransport& watch_;  // the client's own
  http::Client client_;
};

// PEM texts come over the control socket, since this process may read hardly any file; OpenSSL wants files.
Result<UniqueFd> pem_file(const std::string& text, std::string& path) {
  UniqueFd fd(memfd_create("registry-pem", MFD_CLOEXEC));
  if (!fd) return fail_errno("memfd_create");
  TRY(sys::write_all(fd.get(), text));
  path = format("/proc/self/fd/%d", fd.get());
  return fd;
}

class TlsDialer : public Dialer {
 public:
  explicit TlsDialer(DialOptions options)
      : options_(std::move(options)), system_tls_(http::TlsClientOptions{.offer_http2 = true}), trusted_tls_(nullptr) {}

  Result<> start() {
    proxies_ = TRY(ProxySettings::read([](const char* name) -> const char* { return getenv(name); }));
    auto trusted = parse_url("https://" + options_.trusted_host);
    if (!trusted) return fail(ErrorKind::kInvalid, "malformed registry host %s", quoted(options_.trusted_host).c_str());
    trusted_ = *trusted;
    http::TlsClientOptions tls;
    tls.skip_verify = options_.accept_any_certificate;
    tls.offer_http2 = true;
    if (!options_.ca_pem.empty()) roots_ = TRY(pem_file(options_.ca_pem, tls.ca_file));
    if (!options_.client_cert_pem.empty()) {
      certificate_ = TRY(pem_file(options_.client_cert_pem, tls.cert_file));
      key_ = TRY(pem_file(options_.client_key_pem, tls.key_file));
    }
    trusted_tls_ = std::make_unique<http::TlsClient>(tls);
    return {};
  }

  Result<std::unique_ptr<Connection>> dial(const Url& url, const AddressJudge& judge) override {
    const Proxy* proxy = proxies_.find(url);
    if (proxy) TRY(judge_name(url, judge));
    auto transport = proxy ? connect(proxy->url, [](AddressScope) -> Result<> { return {}; }) : connect(url, judge);
    if (!transport) return std::unexpected(std::move(transport).error());
    // A proxy on loopback does not make the registry behind it a local one.
    if (proxy) scope_ = AddressScope::kPublic;
    timeval idle{options_.idle_timeout_s, 0};
    setsockopt((*transport)->fd(), SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
    setsockopt((*transport)->fd(), SOL_SOCKET, SO_SNDTIMEO, &idle, sizeof idle);
    if (proxy && url.secure) TRY(tunnel(**transport, *proxy, url));
    if (url.secure) transport = TRY(secure(std::move(*transport), url));
    if ((*transport)->protocol() == "h2")
      return open_http2(std::move(*transport), url.host_header(), 2 * options_.idle_timeout_s);
    auto watched = std::make_unique<WatchedTransport>(std::move(*transport), 2 * options_.idle_timeout_s);
    return std::make_unique<Http1Connection>(std::move(watched), url.host_header());
  }

  AddressScope last_scope() const override { return scope_; }

  std::string request_target(const Url& url) const override {
    return !url.secure && proxies_.find(url) ? url.text() : url.target;
  }
  std::string proxy_authorization(const Url& url) const override {
    const Proxy* proxy = url.secure ? nullptr : proxies_.find(url);
    return proxy ? proxy->authorization : "";
  }

 private:
  // Behind a proxy names are looked up there; an address written out is judged all the same.
  static Result<> judge_name(const Url& url, const AddressJudge& judge) {
    AddressScope scope = scope_of_address(url.host);
    return scope == AddressScope::kInvalid ? Result<>() : judge(scope);
  }

  Result<std::unique_ptr<http::Transport>> connect(const Url& url, const AddressJudge& judge) {
    auto addresses = TRY(look_up(url.host));
    // All are judged first: a name with one good and one bad address must not get a second chance.
    for (auto& address : addresses) TRY(judge(scope_of_address(address)));
    Result<std::unique_ptr<http::Transport>> transport = fail(ErrorKind::kUnavailable, "no address");
    for (auto& address : addresses) {
      transport = http::connect_tcp_transport(address, url.port, options_.connect_timeout_ms);
      if (transport) {
        scope_ = scope_of_address(address);
        return transport;
      }
      std::string shown = address.contains(':') ? "[" + address + "]" : address;
      Error error = std::move(transport).error();
      transport =
          fail(ErrorKind::kUnavailable, "dial tcp %s:%d: %s", shown.c_str(), url.port, dial_reason(error).c_str());
    }
    return transport;
  }

  Result<std::unique_ptr<http::Transport>> secure(std::unique_ptr<http::Transport> plain, const Url& url) {
    bool trusted = url.host == trusted_.host && url.port == trusted_.port;
    auto wrapped = (trusted ? *trusted_tls_ : system_tls_).wrap(std::move(plain), url.host);
    if (wrapped) return wrapped;
    // Go's sentences again: these two are what people search for.
    Error error = std::move(wrapped).error();
    if (error.message.contains("issuer") || error.message.contains("self-signed") ||
        error.message.contains("self signed"))
      error.message = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    if (error.message.contains("wrong version number") || error.message.contains("http request"))
      error.message = "http: server gave HTTP response to HTTPS client";
    return std::unexpected(std::move(error));
  }

  const DialOptions options_;
  Url trusted_;
  ProxySettings proxies_;
  UniqueFd roots_, certificate_, key_;
  http::TlsClient system_tls_;
  std::unique_ptr<http::TlsClient> trusted_tls_;
  std::atomic<AddressScope> scope_ = AddressScope::kPublic;
};

}  // namespace

Result<std::unique_ptr<Dialer>> Dialer::create(DialOptions options) {
  auto dialer = std::make_unique<TlsDialer>(std::move(options));
  TRY(dialer->start());
  return dialer;
}

bool resolves_into(const std::string& host, const std::vector<std::string>& networks) {
  if (networks.empty()) return false;
  auto addresses = look_up(host);
  if (!addresses) return false;
  for (auto& address : *addresses)
    for (auto& network : networks)
      if (is_in_network(address, network)) return true;
  return false;
}

}  // namespace caisson::registry
