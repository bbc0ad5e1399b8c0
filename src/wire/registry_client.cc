// SPDX-License-Identifier: Apache-2.0
// One registry: the scheme is found by a ping as Docker does it, a challenge is answered once per request, and
// the address of every host that the registry (not the user) named is judged before a byte goes there.
#include "wire/registry_client.h"

#include <time.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <mutex>
#include <optional>

#include "base/clock.h"
#include "base/text.h"
#include "wire/http.h"
#include "wire/registry_dial.h"
#include "wire/registry_tokens.h"

namespace caisson::registry {
namespace {

constexpr size_t kMaxTokenAnswer = 256 << 10;
constexpr size_t kMaxPingBody = 64 << 10;
constexpr size_t kMaxIdleConnections = 8;
constexpr const char* kUserAgent = "caisson-fetch/0.1";

// Connections that may serve another request, by origin.
class ConnectionPool {
 public:
  std::unique_ptr<Connection> take(const std::string& origin) {
    std::lock_guard lock(mutex_);
    auto found = idle_.find(origin);
    if (found == idle_.end()) return nullptr;
    auto client = std::move(found->second);
    idle_.erase(found);
    return client;
  }
  void give(const std::string& origin, std::unique_ptr<Connection> client) {
    std::lock_guard lock(mutex_);
    if (idle_.size() < kMaxIdleConnections) idle_.emplace(origin, std::move(client));
  }

 private:
  std::mutex mutex_;
  std::multimap<std::string, std::unique_ptr<Connection>> idle_;
};

// The peer said nothing at all; of one that said nothing that matters (ETIME) the connection has its own words.
bool is_silence(const Error& error) { return error.kind == ErrorKind::kTimeout && error.err != ETIME; }

class PooledResponse : public RegistryResponse {
 public:
  PooledResponse(std::shared_ptr<ConnectionPool> pool, std::unique_ptr<Connection> client, int idle_timeout_s)
      : pool_(std::move(pool)), client_(std::move(client)), idle_timeout_s_(idle_timeout_s) {}

  Result<size_t> read(std::span<char> buffer) override {
    if (!client_) return size_t{0};
    auto got = client_->read(buffer);
    if (!got) {
      client_.reset();
      Error error = std::move(got).error();
      if (is_silence(error)) error.message = format("no data within %d s", idle_timeout_s_);
      return with_context(std::move(error), "reading \"" + url.text() + "\"");
    }
    size_t size = *got;
    if (size == 0) {
      if (client_->reusable()) pool_->give(url.origin(), std::move(client_));
      client_.reset();
    }
    return size;
  }

  Result<std::string> read_all(size_t limit) override {
    std::string out;
    char buffer[16 << 10];
    int64_t deadline = monotonic_ns() + int64_t{idle_timeout_s_} * 2'000'000'000;
    while (true) {
      size_t size = TRY(read(buffer));
      if (monotonic_ns() > deadline)
        return fail(ErrorKind::kTimeout, "reading \"%s\": no end within %d s", url.text().c_str(), 2 * idle_timeout_s_);
      if (size == 0) return out;
      if (out.size() + size > limit)
        return fail(ErrorKind::kExhausted, "answer of %s is larger than %zu bytes", quoted(url.text()).c_str(), limit);
      out.append(buffer, size);
    }
  }

 private:
  std::shared_ptr<ConnectionPool> pool_;
  std::unique_ptr<Connection> client_;
  const int idle_timeout_s_;
};

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// Go's wording of a failed exchange, which Docker's users know.
std::unexpected<Error> exchange_error(const std::string& method, const Url& url, Error error) {
  std::string verb = to_lower(method);
  if (!verb.empty()) verb[0] = static_cast<char>(toupper(verb[0]));
  error.message = verb + " \"" + url.text() + "\": " + error.message;
  return std::unexpected(std::move(error));
}

class HttpRegistryClient : public RegistryClient {
 public:
  HttpRegistryClient(RegistryOptions options, std::unique_ptr<Dialer> dialer)
      : options_(std::move(options)),
        dialer_(std::move(dialer)),
        pool_(std::make_shared<ConnectionPool>()),
        tokens_(options_.credentials, options_.offline_token,
                [this](const Url& realm, const RealmRequest& request) { return ask_realm(realm, request); }) {}

  Result<> start() {
    auto url = parse_url("https://" + options_.host);
    if (!url || url->target != "/")
      return fail(ErrorKind::kInvalid, "malformed registry host %s", quoted(options_.host).c_str());
    base_ = *url;
    return {};
  }

  Result<> ping() override {
    std::lock_guard lock(ping_mutex_);
    if (pinged_) return {};
    auto first = try_ping(base_);
    if (!first) {
      bool plain_allowed = options_.insecure || is_loopback_name(base_.host);
      if (!plain_allowed || first.error().kind == ErrorKind::kDenied) return first;
      Url plain = *parse_url("http://" + options_.host);
      TRY(try_ping(plain));
      base_ = plain;
    }
    pinged_ = true;
    return {};
  }

  Result<std::unique_ptr<RegistryResponse>> send(const RegistryRequest& request) override {
    TRY(ping());
    auto start = resolve_location(base_, request.target);
    if (!start)
      return fail(ErrorKind::kDenied, "malformed address %s from the registry", quoted(request.target).c_str());
    Url url = *start;
    if (!url.same_origin(base_)) TRY(check_redirect(base_, url, 0));
    // Once a request has left the registry's origin it carries no credentials, wherever it is sent afterwards.
    bool at_registry = url.same_origin(base_);
    bool challenged = false;
    auto scopes = scopes_of(request);
    for (int hops = 0;;) {
      std::string authorization;
      if (at_registry) {
        auto value = tokens_.authorization(scopes);
        if (!value) return exchange_error(request.method, url, std::move(value).error());
        authorization = std::move(*value);
      }
      auto response = TRY(exchange(request, url, authorization));
      if (response->status == 401 && at_registry && !challenged) {
        challenged = true;
        auto again = tokens_.challenged(challenges_of(*response), scopes, authorization);
        if (!again) return exchange_error(request.method, url, std::move(again).error());
        if (!*again) return response;
        continue;
      }
      auto location = response->headers.find("Location");
      if (!is_redirect(response->status) || !location) return response;
      // A body is repeated only where the protocol keeps the method: never for 301 to 303.
      bool has_body = request.method != "GET" && request.method != "HEAD";
      if (has_body && response->status != 307 && response->status != 308) return response;
      auto next = resolve_location(url, *location);
      if (!next) return fail(ErrorKind::kDenied, "refusing redirect to %s", quoted(*location).c_str());
      TRY(check_redirect(url, *next, hops++));
      url = *next;
      at_registry = at_registry && url.same_origin(base_);
    }
  }

  std::string identity_token() override { return tokens_.identity_token(); }

 private:
  std::vector<std::string> scopes_of(const RegistryRequest& request) const {
    std::vector<std::string> scopes;
    if (!options_.repository.empty())
      scopes.push_back(repository_scope(options_.repository, options_.push ? "pull,push" : "pull"));
    if (!request.more_scope.empty()) scopes.push_back(request.more_scope);
    return scopes;
  }

  Result<> try_ping(const Url& base) {
    Url url = base;
    url.target = "/v2/";
    auto response = TRY(exchange(RegistryRequest{}, url, ""));
    registry_scope_ = dialer_->last_scope();
    tokens_.begin(base, response->status == 401 ? challenges_of(*response) : std::vector<Challenge>());
    (void)response->read_all(kMaxPingBody);
    return {};
  }

  static std::vector<Challenge> challenges_of(const RegistryResponse& response) {
    std::vector<Challenge> out;
    for (auto& [name, value] : response.headers.list())
      if (equals_ignore_case(name, "WWW-Authenticate"))
        for (auto& challenge : parse_challenges(value)) out.push_back(std::move(challenge));
    return out;
  }

  // One request on one connection. A kept connection may have been closed by the peer meanwhile, which is
  // no failure of the registry: the request is then repeated once on a new one.
  Result<std::unique_ptr<RegistryResponse>> exchange(const RegistryRequest& request, const Url& url,
                                                     const std::string& authorization) {
    http::ClientRequest wire;
    wire.method = request.method;
    wire.target = dialer_->request_target(url);
    wire.headers = request.headers;
    wire.headers.set("User-Agent", kUserAgent);
    wire.headers.set("Accept-Encoding", "identity");
    if (!authorization.empty()) wire.headers.set("Authorization", authorization);
    if (std::string proxy = dialer_->proxy_authorization(url); !proxy.empty())
      wire.headers.set("Proxy-Authorization", proxy);
    wire.body = request.body;
    for (bool fresh = false;; fresh = true) {
      std::unique_ptr<Connection> client = fresh ? nullptr : pool_->take(url.origin());
      bool kept = client != nullptr;
      if (!client) {
        bool by_user = !pinged_ || url.same_origin(base_);
        auto judge = [&](AddressScope scope) -> Result<> {
          return by_user ? Result<>() : check_redirect_address(url, registry_scope_, scope);
        };
        auto dialed = dialer_->dial(url, judge);
        if (!dialed) return exchange_error(request.method, url, std::move(dialed).error());
        client = std::move(*dialed);
      }
      std::unique_ptr<ByteSource> body;
      if (request.open_body) {
        body = TRY(request.open_body());
        wire.body_stream = body.get();
        wire.body_size = request.body_size;
      }
      auto head = client->open(wire);
      if (!head && kept) continue;
      if (!head && is_silence(head.error()))
        head.error().message = format("no data within %d s", options_.idle_timeout_s);
      if (!head) return exchange_error(request.method, url, std::move(head).error());
      auto response = std::make_unique<PooledResponse>(pool_, std::move(client), options_.idle_timeout_s);
      response->status = head->status;
      response->headers = std::move(head->headers);
      response->url = url;
      return response;
    }
  }

  // No redirects here: a realm that moves is named anew by the registry.
  Result<RealmAnswer> ask_realm(const Url& realm, const RealmRequest& asked) {
    RegistryRequest request;
    request.method = asked.method;
    request.body = asked.body;
    if (!asked.body.empty()) request.headers.set("Content-Type", "application/x-www-form-urlencoded");
    auto response = TRY(exchange(request, realm, asked.authorization));
    RealmAnswer answer{.status = response->status};
    answer.body = TRY(response->read_all(kMaxTokenAnswer));
    return answer;
  }

  const RegistryOptions options_;
  const std::unique_ptr<Dialer> dialer_;
  const std::shared_ptr<ConnectionPool> pool_;
  std::mutex ping_mutex_;  // guards pinged_, base_, registry_scope_ until pinged_
  bool pinged_ = false;
  Url base_;
  AddressScope registry_scope_ = AddressScope::kPublic;
  TokenKeeper tokens_;
};

}  // namespace

Result<std::unique_ptr<RegistryClient>> RegistryClient::create(RegistryOptions options) {
  auto host = parse_url("https://" + options.host);
  // As Docker: a registry on loopback counts as insecure, so its certificate is not checked either.
  if (host && !options.insecure) options.insecure = resolves_into(host->host, options.insecure_networks);
  bool accept_any = options.insecure || (host && is_loopback_name(host->host));
  auto dialer = TRY(Dialer::create({.ca_pem = options.ca_pem,
                                    .client_cert_pem = options.client_cert_pem,
                                    .client_key_pem = options.client_key_pem,
                                    .accept_any_certificate = accept_any,
                                    .connect_timeout_ms = options.connect_timeout_ms,
                                    .idle_timeout_s = options.idle_timeout_s,
                                    .trusted_host = options.host}));
  auto client = std::make_unique<HttpRegistryClient>(std::move(options), std::move(dialer));
  TRY(client->start());
  return client;
}

RegistryFailure failure_of_response(int status, const std::string& body, const http::Headers* headers) {
  auto named = parse_registry_error(body);
  RegistryFailure out;
  out.error.message =
      named ? named->text() : format("received unexpected HTTP status: %d %s", status, http::status_text(status));
  out.code = named ? named->code : "";
  auto take = [&](const char* code, const char* message) {
    out.code = code;
    out.error.message = message;
  };
  switch (status) {
    case 401:
      if (!named) take("UNAUTHORIZED", "unauthorized: authentication required");
      // A good token with too few rights is a refusal, not a missing login.
      if (headers)
        for (auto& [name, value] : headers->list())
          if (equals_ignore_case(name, "WWW-Authenticate"))
            for (auto& challenge : parse_challenges(value))
              if (challenge.get("error") == "insufficient_scope")
                take("DENIED", "denied: requested access to the resource is denied");
      out.error.kind = ErrorKind::kDenied;
      break;
    case 403:
      if (!named) take("DENIED", "denied: requested access to the resource is denied");
      out.error.kind = ErrorKind::kDenied;
      break;
    case 404: out.error.kind = ErrorKind::kNotFound; break;
    case 429:
      if (!named) take("TOOMANYREQUESTS", "toomanyrequests: too many requests to this registry");
      out.error.kind = ErrorKind::kUnavailable;
      break;
    default: out.error.kind = status >= 500 ? ErrorKind::kUnavailable : ErrorKind::kInternal; break;
  }
  return out;
}

std::optional<int64_t> retry_after_s(const http::Headers& headers, int64_t now_s) {
  auto value = headers.find("Retry-After");
  if (!value) return std::nullopt;
  std::string text(trim(*value));
  if (auto number = parse_uint(text)) return static_cast<int64_t>(std::min<uint64_t>(*number, 1'000'000));
  tm parts{};
  const char* end = strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (!end || *end) return std::nullopt;
  return std::clamp<int64_t>(timegm(&parts) - now_s, 0, 1'000'000);
}

}  // namespace caisson::registry
