// SPDX-License-Identifier: Apache-2.0
// URLs as registry traffic needs them, and the rules that say where a registry may send us and where
// credentials may go. Pure: nothing here connects.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace caisson::registry {

inline constexpr size_t kMaxUrl = 8192;
inline constexpr int kMaxRedirects = 5;

struct Url {
  bool secure = true;  // https
  std::string host;    // lower case, without the brackets of an IPv6 address
  uint16_t port = 443;
  std::string target = "/";  // path and query, as sent

  bool same_origin(const Url& other) const {
    return secure == other.secure && host == other.host && port == other.port;
  }
  std::string host_header() const;  // host, with the port where it is not the scheme's own
  std::string origin() const;       // "https://host:port"
  std::string text() const;         // origin and target, default port left out
};

// Absolute http or https URL. Refuses user names in it, control bytes, spaces and anything longer than
// kMaxUrl; drops a fragment.
std::optional<Url> parse_url(std::string_view text);
// A Location header seen at `base`: absolute, "//host/p", "/p", "?q" or relative.
std::optional<Url> resolve_location(const Url& base, std::string_view location);

// Which part of the network a numeric address belongs to. Ordered from far to near.
enum class AddressScope : unsigned char { kPublic, kPrivate, kLinkLocal, kLoopback, kInvalid };
AddressScope scope_of_address(std::string_view numeric);

// A redirect from `from` to `to` is followed only if the scheme does not fall from https to http and `hops`
// is below kMaxRedirects. kDenied with one sentence.
Result<> check_redirect(const Url& from, const Url& to, int hops);
// A host that is not the registry's own may not be loopback or link-local (where clouds keep their
// instance credentials) unless the registry itself is on loopback. kDenied.
Result<> check_redirect_address(const Url& to, AddressScope registry, AddressScope target);

// Whether the user's name and password may be sent with a request for `to`: to the registry's own origin, and
// to a token realm (`is_realm`) over https or on the registry's host.
bool may_send_credentials(const Url& registry, const Url& to, bool is_realm);

// Docker's rule: 127.0.0.0/8, ::1 and localhost are spoken to over plain http where https fails.
bool is_loopback_name(std::string_view host);

}  // namespace caisson::registry
