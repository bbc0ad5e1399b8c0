// SPDX-License-Identifier: Apache-2.0
#include "wire/registry_proxy.h"

#include <arpa/inet.h>

#include "base/text.h"
#include "wire/http.h"
#include "wire/registry_auth.h"

namespace caisson::registry {
namespace {

constexpr size_t kMaxConnectAnswer = 16 << 10;

Result<std::optional<Proxy>> parse_proxy(const char* text) {
  if (!text || !*text) return std::optional<Proxy>();
  std::string address = text;
  if (!address.contains("://")) address = "http://" + address;
  Proxy proxy;
  size_t host = address.find("://") + 3, at = address.find('@');
  if (at != std::string::npos && at < address.find('/', host)) {
    auto user = split_once(address.substr(host, at - host), ':');
    auto name = http::percent_decode(user ? user->first : address.substr(host, at - host), false);
    auto password = http::percent_decode(user ? user->second : "", false);
    if (!name || !password) return fail(ErrorKind::kInvalid, "proxy address: malformed user name");
    proxy.authorization = "Basic " + base64(*name + ":" + *password);
    address.erase(host, at + 1 - host);
  }
  auto url = parse_url(address);
  if (!url || url->secure)
    return fail(ErrorKind::kInvalid, "proxy address %s is not of the form http://host:port", quoted(address).c_str());
  proxy.url = *url;
  return std::optional(std::move(proxy));
}

bool is_exception(const std::string& entry, const Url& url) {
  if (entry == "*") return true;
  if (entry.contains('/')) return is_in_network(url.host, entry);
  std::string name = entry;
  if (size_t colon = name.rfind(':'); colon != std::string::npos && name.find(':') == colon) {
    if (name.substr(colon + 1) != std::to_string(url.port)) return false;
    name.resize(colon);
  }
  if (name.starts_with("*.")) name.erase(0, 1);
  if (name.starts_with('.')) return url.host.ends_with(name);
  return url.host == name || url.host.ends_with("." + name);
}

}  // namespace

bool is_in_network(const std::string& host, const std::string& network) {
  auto parts = split_once(network, '/');
  if (!parts) return false;
  auto bits = parse_uint(parts->second);
  unsigned char address[16], base[16];
  int family = host.contains(':') ? AF_INET6 : AF_INET;
  size_t size = family == AF_INET ? 4 : 16;
  if (!bits || *bits > size * 8) return false;
  if (inet_pton(family, host.c_str(), address) != 1 || inet_pton(family, parts->first.c_str(), base) != 1) return false;
  for (size_t bit = 0; bit < *bits; ++bit)
    if (((address[bit / 8] ^ base[bit / 8]) >> (7 - bit % 8)) & 1) return false;
  return true;
}

Result<ProxySettings> ProxySettings::read(const std::function<const char*(const char*)>& lookup) {
  auto either = [&](const char* upper, const char* lower) {
    const char* value = lookup(upper);
    return value && *value ? value : lookup(lower);
  };
  ProxySettings out;
  out.plain_ = TRY(parse_proxy(either("HTTP_PROXY", "http_proxy")));
  out.secure_ = TRY(parse_proxy(either("HTTPS_PROXY", "https_proxy")));
  if (const char* list = either("NO_PROXY", "no_proxy"))
    for (auto& entry : split(list, ','))
      if (std::string name = to_lower(trim(entry)); !name.empty()) out.exceptions_.push_back(std::move(name));
  return out;
}

const Proxy* ProxySettings::find(const Url& url) const {
  auto& proxy = url.secure ? secure_ : plain_;
  if (!proxy || is_loopback_name(url.host)) return nullptr;
  for (auto& entry : exceptions_)
    if (is_exception(entry, url)) return nullptr;
  return &*proxy;
}

Result<> tunnel(http::Transport& transport, const Proxy& proxy, const Url& target) {
  std::string origin = target.origin(), authority = origin.substr(origin.find("://") + 3);
  std::string request = "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n";
  if (!proxy.authorization.empty()) request += "Proxy-Authorization: " + proxy.authorization + "\r\n";
  TRY(transport.write(request + "\r\n"));
  // Byte by byte: what follows the head belongs to the tunnel.
  std::string head;
  while (!head.ends_with("\r\n\r\n")) {
    char byte;
    if (head.size() == kMaxConnectAnswer) return fail(ErrorKind::kUnavailable, "proxyconnect tcp: answer has no end");
    if (TRY(transport.read(std::span(&byte, 1))) == 0) return fail(ErrorKind::kUnavailable, "proxyconnect tcp: EOF");
    head += byte;
  }
  auto words = split(head.substr(0, head.find("\r\n")), ' ');
  if (words.size() < 2 || !words[0].starts_with("HTTP/1."))
    return fail(ErrorKind::kUnavailable, "proxyconnect tcp: malformed answer");
  if (words[1] != "200")
    return fail(ErrorKind::kUnavailable, "proxyconnect tcp: proxy answered %s",
                quoted(head.substr(0, head.find("\r\n"))).c_str());
  return {};
}

}  // namespace caisson::registry
