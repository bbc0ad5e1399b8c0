// SPDX-License-Identifier: Apache-2.0
// Connections for registry traffic: name lookup, a judgement of every address before it is dialled, TLS, time limits.
// Thread-safe; blocking.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "wire/http_client.h"
#include "wire/registry_url.h"

namespace caisson::registry {

// One connection to a server, in whichever version of HTTP the two agreed on; one request at a time, one thread.
// A peer that says nothing is a kTimeout; one that always says something and never what is waited for, too, with ETIME.
class Connection {
 public:
  virtual ~Connection() = default;
  virtual Result<http::ClientResponse> open(const http::ClientRequest& request) = 0;  // the head only
  virtual Result<size_t> read(std::span<char> buffer) = 0;                            // the body, 0 at its end
  virtual bool reusable() const = 0;                                                  // body read, may take another
};

struct DialOptions {
  std::string ca_pem, client_cert_pem, client_key_pem;  // for trusted_host only
  bool accept_any_certificate = false;                  // for trusted_host only
  int connect_timeout_ms = 15000;
  int idle_timeout_s = 60;
  std::string trusted_host;  // "host[:port]" the user named
};

// Refuses an address (by its scope) before a packet is sent to it.
using AddressJudge = std::function<Result<>(AddressScope)>;

class Dialer {
 public:
  static Result<std::unique_ptr<Dialer>> create(DialOptions options);
  virtual ~Dialer() = default;
  // Errors read as Go's: "dial tcp 127.0.0.1:5000: connect: connection refused".
  virtual Result<std::unique_ptr<Connection>> dial(const Url& url, const AddressJudge& judge) = 0;
  // What to write in the request line: the whole URL where a proxy takes it.
  virtual std::string request_target(const Url& url) const = 0;
  // For the request itself, where it goes to a proxy as it is; "" otherwise.
  virtual std::string proxy_authorization(const Url& url) const = 0;
  // Scope of the address that the last dial() of any thread reached.
  virtual AddressScope last_scope() const = 0;
};

// Whether one of the addresses of `host` (a name is looked up) lies in one of the networks ("10.0.0.0/8").
bool resolves_into(const std::string& host, const std::vector<std::string>& networks);

}  // namespace caisson::registry
