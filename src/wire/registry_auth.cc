// SPDX-License-Identifier: Apache-2.0
#include "wire/registry_auth.h"

#include <openssl/evp.h>

#include <cstring>

#include "base/text.h"
#include "wire/http.h"
#include "wire/json.h"

namespace caisson::registry {

// Fields of Docker's AuthConfig; "auth" is base64 of "user:password", as in config.json.
struct AuthConfigDocument {
  std::string username, password, auth, identity_token, registry_token;
};
CAISSON_JSON(AuthConfigDocument, CAISSON_FIELD("username", username), CAISSON_FIELD("password", password),
             CAISSON_FIELD("auth", auth), CAISSON_FIELD("identitytoken", identity_token),
             CAISSON_FIELD("registrytoken", registry_token))

struct TokenDocument {
  std::string token, access_token, refresh_token;
  int64_t expires_in = 0;
};
CAISSON_JSON(TokenDocument, CAISSON_FIELD("token", token), CAISSON_FIELD("access_token", access_token),
             CAISSON_FIELD("refresh_token", refresh_token), CAISSON_FIELD("expires_in", expires_in))

struct ErrorEntry {
  std::string code, message;
};
CAISSON_JSON(ErrorEntry, CAISSON_FIELD("code", code), CAISSON_FIELD("message", message))
struct ErrorDocument {
  std::vector<ErrorEntry> errors;
};
CAISSON_JSON(ErrorDocument, CAISSON_FIELD("errors", errors))

namespace {

constexpr size_t kMaxChallenges = 16;
constexpr size_t kMaxParameters = 32;
constexpr size_t kMaxToken = 64 << 10;

class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}
  bool at_end() const { return rest_.empty(); }
  char peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  void skip(std::string_view set) {
    while (!rest_.empty() && set.contains(rest_.front())) rest_.remove_prefix(1);
  }
  bool take(char c) {
    if (peek() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::string_view token() {
    size_t size = 0;
    while (size < rest_.size() && is_token_byte(rest_[size])) ++size;
    std::string_view out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return out;
  }
  std::optional<std::string> quoted_string() {
    std::string out;
    rest_.remove_prefix(1);
    while (!rest_.empty()) {
      char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') return out;
      if (c == '\\') {
        if (rest_.empty()) return std::nullopt;
        c = rest_.front();
        rest_.remove_prefix(1);
      }
      out += c;
    }
    return std::nullopt;
  }
  std::string_view rest() const { return rest_; }
  void reset(std::string_view to) { rest_ = to; }

 private:
  static bool is_token_byte(char c) {
    return isalnum(static_cast<unsigned char>(c)) || (c && strchr("!#$%&'*+-.^_`|~/:", c));
  }
  std::string_view rest_;
};

// "name=value" behind a scheme; false leaves the scanner where it was.
bool parse_parameter(Scanner& scanner, Challenge& challenge) {
  std::string_view start = scanner.rest();
  std::string name = to_lower(scanner.token());
  scanner.skip(" \t");
  if (name.empty() || !scanner.take('=')) {
    scanner.reset(start);
    return false;
  }
  scanner.skip(" \t");
  std::string value;
  if (scanner.peek() == '"') {
    auto text = scanner.quoted_string();
    if (!text) {
      scanner.reset("");
      return false;
    }
    value = std::move(*text);
  } else {
    value = scanner.token();
  }
  if (challenge.parameters.size() < kMaxParameters)
    challenge.parameters.emplace_back(std::move(name), std::move(value));
  return true;
}

std::optional<std::string> decode_base64(const std::string& text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string out(text.size() / 4 * 3, '\0');
  int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                             reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  out.resize(static_cast<size_t>(size) - std::min(padding, static_cast<size_t>(size)));
  return out;
}

bool has_control_bytes(std::string_view text) {
  for (char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return true;
  return false;
}

}  // namespace

std::string Challenge::get(std::string_view name) const {
  for (auto& [key, value] : parameters)
    if (key == name) return value;
  return "";
}

std::vector<Challenge> parse_challenges(std::string_view header) {
  std::vector<Challenge> out;
  Scanner scanner(header);
  while (out.size() < kMaxChallenges) {
    scanner.skip(" \t,");
    std::string scheme = to_lower(scanner.token());
    if (scheme.empty()) break;
    Challenge challenge{std::move(scheme), {}};
    bool more = scanner.peek() == ' ' || scanner.peek() == '\t';
    while (more) {
      scanner.skip(" \t");
      if (!parse_parameter(scanner, challenge)) break;
      scanner.skip(" \t");
      std::string_view before_comma = scanner.rest();
      if (!scanner.take(',')) break;
      scanner.skip(" \t,");
      // Behind a comma stands either the next parameter or the next scheme; only "=" tells.
      std::string_view next = scanner.rest();
      scanner.token();
      scanner.skip(" \t");
      more = scanner.peek() == '=';
      scanner.reset(more ? next : before_comma);
    }
    out.push_back(std::move(challenge));
  }
  return out;
}

Result<Credentials> parse_auth_config(const std::string& json) {
  if (trim(json).empty()) return Credentials{};
  auto document = json::decode<AuthConfigDocument>(json);
  if (!document) return fail(ErrorKind::kInvalid, "registry credentials: %s", document.error().message.c_str());
  Credentials out{document->username, document->password, document->identity_token, document->registry_token};
  if (out.username.empty() && !document->auth.empty()) {
    auto plain = decode_base64(document->auth);
    auto parts = plain ? split_once(*plain, ':') : std::nullopt;
    if (!parts) return fail(ErrorKind::kInvalid, "registry credentials: 'auth' is not base64 of user:password");
    out.username = parts->first;
    out.password = parts->second;
  }
  if (has_control_bytes(out.identity_token) || has_control_bytes(out.registry_token) || has_control_bytes(out.username))
    return fail(ErrorKind::kInvalid, "registry credentials: control bytes");
  return out;
}

std::string base64(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                             reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<size_t>(size));
  return out;
}

std::string basic_authorization(const Credentials& credentials) {
  return "Basic " + base64(credentials.username + ":" + credentials.password);
}

std::string repository_scope(std::string_view repository, std::string_view actions) {
  return "repository:" + std::string(repository) + ":" + std::string(actions);
}

std::string token_query(const Challenge& challenge, const std::vector<std::string>& scopes, std::string_view account,
                        bool offline) {
  http::Query query;
  if (!account.empty()) query.add("account", std::string(account));
  if (offline) {
    query.add("client_id", "caisson");
    query.add("offline_token", "true");
  }
  for (auto& scope : scopes) query.add("scope", scope);
  if (std::string service = challenge.get("service"); !service.empty()) query.add("service", service);
  return query.encode();
}

std::string token_form(const Challenge& challenge, const std::vector<std::string>& scopes,
                       const Credentials& credentials, bool offline) {
  http::Query form;
  if (!credentials.identity_token.empty()) {
    form.add("grant_type", "refresh_token");
    form.add("refresh_token", credentials.identity_token);
  } else {
    form.add("grant_type", "password");
    form.add("username", credentials.username);
    form.add("password", credentials.password);
    if (offline) form.add("access_type", "offline");
  }
  form.add("client_id", "caisson");
  form.add("service", challenge.get("service"));
  form.add("scope", join(scopes, " "));
  return form.encode();
}

Result<Token> parse_token(const std::string& json) {
  auto document = json::decode<TokenDocument>(json);
  if (!document) return fail(ErrorKind::kUnavailable, "token answer: %s", document.error().message.c_str());
  Token token{document->token.empty() ? document->access_token : document->token};
  if (token.value.empty())
    return fail(ErrorKind::kUnavailable, "authorization server did not include a token in the response");
  if (token.value.size() > kMaxToken || has_control_bytes(token.value))
    return fail(ErrorKind::kUnavailable, "token answer: malformed token");
  if (document->refresh_token.size() <= kMaxToken / 4 && !has_control_bytes(document->refresh_token))
    token.identity_token = document->refresh_token;
  if (document->expires_in > token.expires_in_s) token.expires_in_s = std::min<int64_t>(document->expires_in, 3600);
  return token;
}

std::string RegistryError::text() const {
  std::string words = to_lower(code);
  for (char& c : words)
    if (c == '_') c = ' ';
  return words + ": " + message;
}

std::optional<RegistryError> parse_registry_error(const std::string& body) {
  auto document = json::decode<ErrorDocument>(body);
  if (!document || document->errors.empty() || document->errors.front().code.empty()) return std::nullopt;
  auto clean = [](std::string text) {
    text.resize(std::min<size_t>(text.size(), 512));
    for (char& c : text)
      if (static_cast<unsigned char>(c) < 0x20) c = ' ';
    return text;
  };
  return RegistryError{clean(document->errors.front().code), clean(document->errors.front().message)};
}

}  // namespace caisson::registry
