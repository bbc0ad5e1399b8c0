// SPDX-License-Identifier: Apache-2.0
// One registry: the scheme is found by a ping as Docker does it, a challenge is answered once per request, and
// the address of every host that the registry (not the user) named is judged before a byte goes there.
#include "wire/registry_client.h"

#include <map>
#include <mutex>
#include <optional>

#include "base/clock.h"
#include "base/text.h"
#include "wire/http.h"
#include "wire/registry_dial.h"

namespace caisson::registry {
namespace {

constexpr size_t kMaxTokenAnswer = 256 << 10;
constexpr size_t kMaxErrorBody = 64 << 10;
constexpr size_t kMaxIdleConnections = 8;
constexpr const char* kUserAgent = "caisson-fetch/0.1";

// Connections that may serve another request, by origin.
class ConnectionPool {
 public:
  std::unique_ptr<http::Client> take(const std::string& origin) {
    std::lock_guard lock(mutex_);
    auto found = idle_.find(origin);
    if (found == idle_.end()) return nullptr;
    auto client = std::move(found->second);
    idle_.erase(found);
    return client;
  }
  void give(const std::string& origin, std::unique_ptr<http::Client> client) {
    std::lock_guard lock(mutex_);
    if (idle_.size() < kMaxIdleConnections) idle_.emplace(origin, std::move(client));
  }

 private:
  std::mutex mutex_;
  std::multimap<std::string, std::unique_ptr<http::Client>> idle_;
};

class PooledResponse : public RegistryResponse {
 public:
  PooledResponse(std::shared_ptr<ConnectionPool> pool, std::unique_ptr<http::Client> client)
      : pool_(std::move(pool)), client_(std::move(client)) {}

  Result<size_t> read(std::span<char> buffer) override {
    if (!client_) return size_t{0};
    size_t size = TRY(client_->read(buffer));
    if (size == 0) {
      if (client_->reusable()) pool_->give(url.origin(), std::move(client_));
      client_.reset();
    }
    return size;
  }

  Result<std::string> read_all(size_t limit) override {
    std::string out;
    char buffer[16 << 10];
    while (true) {
      size_t size = TRY(read(buffer));
      if (size == 0) return out;
      if (out.size() + size > limit)
        return fail(ErrorKind::kExhausted, "answer of %s is larger than %zu bytes", quoted(url.text()).c_str(), limit);
      out.append(buffer, size);
    }
  }

 private:
  std::shared_ptr<ConnectionPool> pool_;
  std::unique_ptr<http::Client> client_;
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

std::string scheme_names(const std::vector<Challenge>& challenges) {
  std::vector<std::string> names;
  for (auto& challenge : challenges) names.push_back(challenge.scheme);
  return join(names, ", ");
}

class HttpRegistryClient : public RegistryClient {
 public:
  HttpRegistryClient(RegistryOptions options, std::unique_ptr<Dialer> dialer)
      : options_(std::move(options)), dialer_(std::move(dialer)), pool_(std::make_shared<ConnectionPool>()) {}

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
    for (int hops = 0;;) {
      std::string authorization;
      if (at_registry) authorization = TRY(current_authorization(request.method, url));
      auto response = TRY(exchange(request, url, authorization));
      if (response->status == 401 && at_registry && !challenged) {
        challenged = true;
        if (!TRY(answer_challenge(*response, request.method, url))) return response;
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

 private:
  Result<> try_ping(const Url& base) {
    Url url = base;
    url.target = "/v2/";
    auto response = TRY(exchange(RegistryRequest{}, url, ""));
    registry_scope_ = dialer_->last_scope();
    std::lock_guard lock(auth_mutex_);
    if (response->status == 401) challenges_ = challenges_of(*response);
    (void)response->read_all(kMaxErrorBody);
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
      std::unique_ptr<http::Client> client = fresh ? nullptr : pool_->take(url.origin());
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
      if (!head) return exchange_error(request.method, url, std::move(head).error());
      auto response = std::make_unique<PooledResponse>(pool_, std::move(client));
      response->status = head->status;
      response->headers = std::move(head->headers);
      response->url = url;
      return response;
    }
  }

  Result<std::string> current_authorization(const std::string& method, const Url& url) {
    std::lock_guard lock(auth_mutex_);
    if (!options_.credentials.registry_token.empty()) return "Bearer " + options_.credentials.registry_token;
    for (auto& challenge : challenges_) {
      if (challenge.scheme == "bearer") {
        if (!token_ || monotonic_ns() >= token_deadline_ns_) TRY(fetch_token(challenge));
        return "Bearer " + token_->value;
      }
    }
    for (auto& challenge : challenges_) {
      if (challenge.scheme == "basic") {
        if (options_.credentials.username.empty())
          return exchange_error(method, url, Error{ErrorKind::kDenied, 0, "no basic auth credentials"});
        return basic_authorization(options_.credentials);
      }
    }
    return std::string();
  }

  // True if the request is worth repeating: the challenge is new, or our token had run out early.
  Result<bool> answer_challenge(RegistryResponse& response, const std::string& method, const Url& url) {
    auto challenges = challenges_of(response);
    std::lock_guard lock(auth_mutex_);
    if (!options_.credentials.registry_token.empty()) return false;
    bool known = !challenges_.empty();
    bool bearer = false, basic = false;
    for (auto& challenge : challenges) {
      bearer |= challenge.scheme == "bearer";
      basic |= challenge.scheme == "basic";
    }
    if (!bearer && !basic) {
      if (challenges.empty()) return false;
      return exchange_error(
          method, url,
          Error{ErrorKind::kUnsupported, 0, "no supported authentication scheme: " + scheme_names(challenges)});
    }
    if (known && !bearer) return false;
    challenges_ = std::move(challenges);
    token_.reset();
    return true;
  }

  Result<> fetch_token(const Challenge& challenge) {
    auto realm = parse_url(challenge.get("realm"));
    if (!realm) return fail(ErrorKind::kDenied, "malformed token realm %s", quoted(challenge.get("realm")).c_str());
    TRY_CTX(check_redirect(base_, *realm, 0), "token realm");
    const Credentials& credentials = options_.credentials;
    bool trusted = may_send_credentials(base_, *realm, true);
    std::vector<std::string> scopes;
    if (!options_.repository.empty())
      scopes.push_back(repository_scope(options_.repository, options_.push ? "pull,push" : "pull"));
    RegistryRequest request;
    std::string authorization;
    if (trusted && !credentials.identity_token.empty()) {
      request.method = "POST";
      request.headers.set("Content-Type", "application/x-www-form-urlencoded");
      request.body = refresh_form(challenge, scopes, credentials);
    } else {
      bool named = trusted && !credentials.username.empty();
      if (named) authorization = basic_authorization(credentials);
      realm->target += realm->target.contains('?') ? '&' : '?';
      realm->target += token_query(challenge, scopes, named ? credentials.username : "");
    }
    // No redirects here: a realm that moves is named anew by the registry.
    auto response = TRY(exchange(request, *realm, authorization));
    std::string body = TRY(response->read_all(kMaxTokenAnswer));
    if (response->status == 401 || response->status == 403) {
      std::string reason =
          response->status == 401 ? "incorrect username or password" : "access denied by the authorization server";
      if (auto named = parse_registry_error(body)) reason = named->message;
      return fail(ErrorKind::kDenied, "unauthorized: %s", reason.c_str());
    }
    if (response->status != 200)
      return exchange_error(request.method, *realm,
                            Error{ErrorKind::kUnavailable, 0,
                                  format("unexpected status from the authorization server: %d %s", response->status,
                                         http::status_text(response->status))});
    token_ = TRY(parse_token(body));
    // Used up to 90 % of its life, so that it does not end between our check and the registry's.
    token_deadline_ns_ = monotonic_ns() + token_->expires_in_s * 900'000'000;
    return {};
  }

  const RegistryOptions options_;
  const std::unique_ptr<Dialer> dialer_;
  const std::shared_ptr<ConnectionPool> pool_;
  std::mutex ping_mutex_;  // guards pinged_, base_, registry_scope_ until pinged_
  bool pinged_ = false;
  Url base_;
  AddressScope registry_scope_ = AddressScope::kPublic;
  std::mutex auth_mutex_;  // held while a token is fetched, so that it is fetched once
  std::vector<Challenge> challenges_;
  std::optional<Token> token_;
  int64_t token_deadline_ns_ = 0;
};

}  // namespace

Result<std::unique_ptr<RegistryClient>> RegistryClient::create(RegistryOptions options) {
  auto host = parse_url("https://" + options.host);
  // As Docker: a registry on loopback counts as insecure, so its certificate is not checked either.
  bool accept_any = options.insecure || (host && is_loopback_name(host->host));
  auto dialer = TRY(Dialer::create({.ca_pem = options.ca_pem,
                                    .accept_any_certificate = accept_any,
                                    .connect_timeout_ms = options.connect_timeout_ms,
                                    .idle_timeout_s = options.idle_timeout_s,
                                    .trusted_host = options.host}));
  auto client = std::make_unique<HttpRegistryClient>(std::move(options), std::move(dialer));
  TRY(client->start());
  return client;
}

RegistryFailure failure_of_response(int status, const std::string& body) {
  auto named = parse_registry_error(body);
  RegistryFailure out;
  out.error.message =
      named ? named->text() : format("received unexpected HTTP status: %d %s", status, http::status_text(status));
  out.code = named ? named->code : "";
  switch (status) {
    case 401:
      if (!named) out.code = "UNAUTHORIZED", out.error.message = "unauthorized: authentication required";
      [[fallthrough]];
    case 403:
      if (!named && status == 403)
        out.code = "DENIED", out.error.message = "denied: requested access to the resource is denied";
      out.error.kind = ErrorKind::kDenied;
      break;
    case 404: out.error.kind = ErrorKind::kNotFound; break;
    default: out.error.kind = ErrorKind::kUnavailable; break;
  }
  return out;
}

}  // namespace caisson::registry
