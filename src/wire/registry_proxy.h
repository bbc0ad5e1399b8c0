// SPDX-License-Identifier: Apache-2.0
// HTTP proxies from the environment, by the rules Go programs follow (HTTP_PROXY, HTTPS_PROXY, NO_PROXY, in
// capitals or not). Pure but for tunnel().
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "wire/http_client.h"
#include "wire/registry_url.h"

namespace caisson::registry {

struct Proxy {
  Url url;
  std::string authorization;  // "Basic ..." from a user name in the address, "" without
};

class ProxySettings {
 public:
  // `lookup` is getenv or a test's table; an address that cannot be read is kInvalid.
  static Result<ProxySettings> read(const std::function<const char*(const char*)>& lookup);
  // The proxy for `url`; none for loopback and for what NO_PROXY names (host, .domain, address, CIDR, host:port, *).
  const Proxy* find(const Url& url) const;

 private:
  std::optional<Proxy> plain_, secure_;
  std::vector<std::string> exceptions_;
};

// CONNECT through `transport`, which leads to the proxy: afterwards it leads to `target`.
Result<> tunnel(http::Transport& transport, const Proxy& proxy, const Url& target);

// Whether the numeric `host` lies in `network` ("10.0.0.0/8", "fd00::/8").
bool is_in_network(const std::string& host, const std::string& network);

}  // namespace caisson::registry
