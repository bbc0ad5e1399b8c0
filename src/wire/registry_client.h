// SPDX-License-Identifier: Apache-2.0
// HTTP exchanges with one registry: which scheme it speaks, authentication, redirects, kept connections. It knows
// nothing of images. Thread-safe; blocking. Runs in the fetch worker, never in the engine.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/http_client.h"
#include "wire/registry_auth.h"
#include "wire/registry_url.h"

namespace caisson::registry {

struct RegistryOptions {
  std::string host;                             // "localhost:5000", "registry-1.docker.io"
  bool insecure = false;                        // plain http, or https with any certificate, is allowed
  std::string ca_pem;                           // additional trusted certificates, "" for none
  std::string client_cert_pem, client_key_pem;  // shown to the registry, "" for none
  std::vector<std::string> insecure_networks;   // "10.0.0.0/8": a host with an address in there is insecure
  std::string repository;                       // "library/busybox": the token scope
  bool push = false;
  bool offline_token = false;  // ask for an identity token
  Credentials credentials;
  int connect_timeout_ms = 15000;
  int idle_timeout_s = 60;  // longest silence while a byte is awaited
};

struct RegistryRequest {
  std::string method = "GET";
  std::string target;  // "/v2/..." on the registry, or an absolute URL the registry gave (uploads)
  http::Headers headers;
  std::string body;
  // A fresh body for each try (a challenge or redirect repeats the request); body_size bytes.
  std::function<Result<std::unique_ptr<ByteSource>>()> open_body;
  int64_t body_size = -1;
  std::string more_scope;  // beside the repository's own: "repository:other:pull" for a mount from there
};

// A response whose body has not been read. Reading to the end gives the connection back.
class RegistryResponse : public ByteSource {
 public:
  int status = 0;
  http::Headers headers;
  Url url;  // where the answer came from, after redirects
  // At most `limit` bytes, kExhausted beyond; kTimeout for what trickles in over more than twice the idle timeout.
  virtual Result<std::string> read_all(size_t limit) = 0;
};

class RegistryClient {
 public:
  // Does not connect.
  static Result<std::unique_ptr<RegistryClient>> create(RegistryOptions options);
  virtual ~RegistryClient() = default;
  // GET /v2/ : finds the scheme and the challenge. send() does it on first use.
  virtual Result<> ping() = 0;
  // One exchange with challenges and redirects carried out. Any final status is an answer, not an error, but
  // errors of transport are kUnavailable in Docker's wording (`Get "https://h/v2/": dial tcp ...`), refused
  // redirects kDenied.
  virtual Result<std::unique_ptr<RegistryResponse>> send(const RegistryRequest& request) = 0;
  // What a token realm gave for later logins; "" without one.
  virtual std::string identity_token() = 0;
};

// The error a final status stands for, from the registry's error document where there is one; `code` is the
// document's ("MANIFEST_UNKNOWN"), "" without one.
struct RegistryFailure {
  Error error;
  std::string code;
};
RegistryFailure failure_of_response(int status, const std::string& body, const http::Headers* headers = nullptr);
// Retry-After in seconds (RFC 9110 section 10.2.3: a number or a date), nullopt without one.
std::optional<int64_t> retry_after_s(const http::Headers& headers, int64_t now_s);

}  // namespace caisson::registry
