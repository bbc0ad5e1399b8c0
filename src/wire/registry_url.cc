// SPDX-License-Identifier: Apache-2.0
#include "wire/registry_url.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

#include "base/text.h"

namespace caisson::registry {
namespace {

bool is_url_byte(unsigned char c) { return c > 0x20 && c < 0x7f; }

// Host names and addresses only: what passes here ends up in getaddrinfo, a Host header and TLS's SNI.
bool is_host(std::string_view host) {
  if (host.empty() || host.size() > 253) return false;
  for (char c : host)
    if (!isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '-' && c != '_') return false;
  return true;
}

std::string remove_dot_segments(std::string_view path) {
  std::vector<std::string> out;
  std::vector<std::string> parts = split(path, '/');
  for (size_t i = 1; i < parts.size(); ++i) {
    bool last = i + 1 == parts.size();
    if (parts[i] == "..") {
      if (!out.empty()) out.pop_back();
      if (last) out.emplace_back();
    } else if (parts[i] == ".") {
      if (last) out.emplace_back();
    } else {
      out.push_back(std::move(parts[i]));
    }
  }
  return "/" + join(out, "/");
}

bool parse_authority(std::string_view authority, Url& url) {
  if (authority.contains('@')) return false;
  std::string_view port;
  if (authority.starts_with('[')) {
    size_t close = authority.find(']');
    if (close == std::string_view::npos) return false;
    url.host = to_lower(authority.substr(1, close - 1));
    in6_addr unused;
    if (inet_pton(AF_INET6, url.host.c_str(), &unused) != 1) return false;
    authority.remove_prefix(close + 1);
    if (!authority.empty() && !authority.starts_with(':')) return false;
    if (!authority.empty()) port = authority.substr(1);
  } else {
    size_t colon = authority.find(':');
    url.host = to_lower(authority.substr(0, colon));
    if (!is_host(url.host)) return false;
    if (colon != std::string_view::npos) port = authority.substr(colon + 1);
  }
  url.port = url.secure ? 443 : 80;
  if (port.empty()) return true;
  auto number = parse_uint(port);
  if (!number || *number == 0 || *number > 65535) return false;
  url.port = static_cast<uint16_t>(*number);
  return true;
}

}  // namespace

std::string Url::host_header() const {
  std::string name = host.contains(':') ? "[" + host + "]" : host;
  return port == (secure ? 443 : 80) ? name : name + ":" + std::to_string(port);
}

std::string Url::origin() const {
  std::string name = host.contains(':') ? "[" + host + "]" : host;
  return std::string(secure ? "https://" : "http://") + name + ":" + std::to_string(port);
}

std::string Url::text() const { return std::string(secure ? "https://" : "http://") + host_header() + target; }

std::optional<Url> parse_url(std::string_view text) {
  if (text.size() > kMaxUrl) return std::nullopt;
  for (char c : text)
    if (!is_url_byte(static_cast<unsigned char>(c))) return std::nullopt;
  size_t scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos) return std::nullopt;
  std::string scheme = to_lower(text.substr(0, scheme_end));
  if (scheme != "http" && scheme != "https") return std::nullopt;
  Url url;
  url.secure = scheme == "https";
  text.remove_prefix(scheme_end + 3);
  text = text.substr(0, text.find('#'));
  size_t authority_end = text.find_first_of("/?");
  if (!parse_authority(text.substr(0, authority_end), url)) return std::nullopt;
  url.target = authority_end == std::string_view::npos ? "/" : std::string(text.substr(authority_end));
  if (url.target.front() == '?') url.target.insert(0, "/");
  return url;
}

std::optional<Url> resolve_location(const Url& base, std::string_view location) {
  if (location.empty() || location.size() > kMaxUrl) return std::nullopt;
  for (char c : location)
    if (!is_url_byte(static_cast<unsigned char>(c))) return std::nullopt;
  size_t special = location.find_first_of(":/?#");
  if (special != std::string_view::npos && location[special] == ':') return parse_url(location);
  if (location.starts_with("//")) return parse_url((base.secure ? "https:" : "http:") + std::string(location));
  location = location.substr(0, location.find('#'));
  Url url = base;
  if (location.starts_with('/')) {
    url.target = location;
  } else if (location.starts_with('?')) {
    url.target = base.target.substr(0, base.target.find('?')) + std::string(location);
  } else {
    std::string directory = base.target.substr(0, base.target.find('?'));
    directory.resize(directory.rfind('/') + 1);
    std::string_view query;
    if (size_t mark = location.find('?'); mark != std::string_view::npos) {
      query = location.substr(mark);
      location = location.substr(0, mark);
    }
    url.target = remove_dot_segments(directory + std::string(location)) + std::string(query);
  }
  return url;
}

AddressScope scope_of_address(std::string_view numeric) {
  std::string text(numeric.substr(0, numeric.find('%')));
  in_addr v4;
  uint32_t address = 0;
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) {
    address = ntohl(v4.s_addr);
  } else {
    in6_addr v6;
    if (inet_pton(AF_INET6, text.c_str(), &v6) != 1) return AddressScope::kInvalid;
    if (IN6_IS_ADDR_LOOPBACK(&v6) || IN6_IS_ADDR_UNSPECIFIED(&v6)) return AddressScope::kLoopback;
    if (IN6_IS_ADDR_LINKLOCAL(&v6)) return AddressScope::kLinkLocal;
    static constexpr unsigned char kNat64[12] = {0, 0x64, 0xff, 0x9b};
    bool embeds_v4 = IN6_IS_ADDR_V4MAPPED(&v6) || memcmp(v6.s6_addr, kNat64, sizeof kNat64) == 0;
    if (!embeds_v4) {
      // fd00:ec2::254 is where AWS keeps the metadata service in IPv6; it lies in the private range.
      static constexpr unsigned char kMetadata[16] = {0xfd, 0x00, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54};
      if (memcmp(v6.s6_addr, kMetadata, 16) == 0) return AddressScope::kLinkLocal;
      return (v6.s6_addr[0] & 0xfe) == 0xfc ? AddressScope::kPrivate : AddressScope::kPublic;
    }
    memcpy(&address, v6.s6_addr + 12, 4);
    address = ntohl(address);
  }
  auto within = [address](uint32_t network, int bits) { return address >> (32 - bits) == network >> (32 - bits); };
  if (within(0x7f000000, 8) || within(0, 8)) return AddressScope::kLoopback;
  if (within(0xa9fe0000, 16)) return AddressScope::kLinkLocal;
  // 100.100.100.200 is Alibaba's metadata service, inside the carrier range.
  if (address == 0x646464c8) return AddressScope::kLinkLocal;
  if (within(0x0a000000, 8) || within(0xac100000, 12) || within(0xc0a80000, 16) || within(0x64400000, 10))
    return AddressScope::kPrivate;
  return AddressScope::kPublic;
}

Result<> check_redirect(const Url& from, const Url& to, int hops) {
  if (hops >= kMaxRedirects) return fail(ErrorKind::kDenied, "more than %d redirects", kMaxRedirects);
  if (from.secure && !to.secure)
    return fail(ErrorKind::kDenied, "refusing redirect from https to %s", quoted(to.origin()).c_str());
  return {};
}

Result<> check_redirect_address(const Url& to, AddressScope registry, AddressScope target) {
  bool near = target == AddressScope::kLoopback || target == AddressScope::kLinkLocal;
  if (target == AddressScope::kInvalid || (near && registry != AddressScope::kLoopback))
    return fail(ErrorKind::kDenied, "refusing redirect to %s: it is an address of this machine",
                quoted(to.origin()).c_str());
  return {};
}

bool may_send_credentials(const Url& registry, const Url& to, bool is_realm) {
  if (to.same_origin(registry)) return true;
  if (!is_realm) return false;
  // A plain-http realm on the registry's own host reads nothing that the registry could not read itself, unless
  // the registry is reached over https and the realm would put the password on the wire in the clear.
  return to.secure || (to.host == registry.host && !registry.secure);
}

bool is_loopback_name(std::string_view host) {
  if (equals_ignore_case(host, "localhost")) return true;
  AddressScope scope = scope_of_address(host);
  return scope == AddressScope::kLoopback && host != "::" && !host.starts_with("0.");
}

}  // namespace caisson::registry
