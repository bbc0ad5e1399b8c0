// SPDX-License-Identifier: Apache-2.0
// Registry authentication as data: challenges of WWW-Authenticate, the client's X-Registry-Auth document, token
// requests and answers. Pure; registry_client.h carries it out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace caisson::registry {

struct Challenge {
  std::string scheme;                                           // lower case: "bearer", "basic"
  std::vector<std::pair<std::string, std::string>> parameters;  // names in lower case
  std::string get(std::string_view name) const;                 // "" when absent
};

// Every challenge of one header value (RFC 9110 section 11.6.1), at most 16 with 32 parameters each. What
// cannot be read ends the list; it never fails.
std::vector<Challenge> parse_challenges(std::string_view header);

struct Credentials {
  std::string username, password;
  std::string identity_token;  // OAuth2 refresh token, instead of a password
  std::string registry_token;  // a bearer token to use as it is
  bool empty() const {
    return username.empty() && password.empty() && identity_token.empty() && registry_token.empty();
  }
};

// Docker's AuthConfig JSON (decoded X-Registry-Auth); "" and "{}" are empty credentials. kInvalid.
Result<Credentials> parse_auth_config(const std::string& json);

// Value of an Authorization header.
std::string basic_authorization(const Credentials& credentials);

// "repository:library/busybox:pull"
std::string repository_scope(std::string_view repository, std::string_view actions);

// Query of the GET that asks a realm for a token; `offline` asks for an identity token as well.
std::string token_query(const Challenge& challenge, const std::vector<std::string>& scopes, std::string_view account,
                        bool offline = false);
// Form body of the POST that trades an identity token for one, or, without one, name and password.
std::string token_form(const Challenge& challenge, const std::vector<std::string>& scopes,
                       const Credentials& credentials, bool offline = false);

struct Token {
  std::string value;
  std::string identity_token;  // for later logins, "" without one
  int64_t expires_in_s = 60;   // the specification's default
};
Result<Token> parse_token(const std::string& json);

// One entry of a registry's error document, in Docker's wording: "manifest unknown: manifest unknown".
struct RegistryError {
  std::string code;  // "MANIFEST_UNKNOWN"
  std::string message;
  std::string text() const;
};
// nullopt when the body is no such document.
std::optional<RegistryError> parse_registry_error(const std::string& body);

std::string base64(std::string_view bytes);

}  // namespace caisson::registry
