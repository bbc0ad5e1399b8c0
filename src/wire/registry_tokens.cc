// SPDX-License-Identifier: Apache-2.0
#include "wire/registry_tokens.h"

#include <algorithm>

#include "base/clock.h"
#include "base/text.h"
#include "wire/http.h"
#include "wire/registry_client.h"

namespace caisson::registry {
namespace {

constexpr size_t kMaxHeldTokens = 16, kMaxDemandedScopes = 8, kMaxScope = 1024;

std::string scheme_names(const std::vector<Challenge>& challenges) {
  std::vector<std::string> names;
  for (auto& challenge : challenges) names.push_back(challenge.scheme);
  return join(names, ", ");
}

const Challenge* find_scheme(const std::vector<Challenge>& challenges, std::string_view scheme) {
  for (auto& challenge : challenges)
    if (challenge.scheme == scheme) return &challenge;
  return nullptr;
}

}  // namespace

TokenKeeper::TokenKeeper(Credentials credentials, bool offline, AskRealm ask)
    : credentials_(std::move(credentials)), offline_(offline), ask_(std::move(ask)) {}

void TokenKeeper::begin(const Url& base, std::vector<Challenge> challenges) {
  std::lock_guard lock(mutex_);
  base_ = base;
  challenges_ = std::move(challenges);
}

std::string TokenKeeper::identity_token() {
  std::lock_guard lock(mutex_);
  return identity_token_;
}

std::vector<std::string> TokenKeeper::all_scopes(const std::vector<std::string>& scopes) const {
  std::vector<std::string> out = scopes;
  for (auto& scope : demanded_)
    if (std::find(out.begin(), out.end(), scope) == out.end()) out.push_back(scope);
  return out;
}

Result<std::string> TokenKeeper::authorization(const std::vector<std::string>& scopes) {
  std::lock_guard lock(mutex_);
  if (!credentials_.registry_token.empty()) return "Bearer " + credentials_.registry_token;
  if (const Challenge* bearer = find_scheme(challenges_, "bearer")) {
    auto wanted = all_scopes(scopes);
    std::string key = join(wanted, " ");
    auto held = tokens_.find(key);
    if (held == tokens_.end() || monotonic_ns() >= held->second.deadline_ns) TRY(fetch(*bearer, wanted));
    return "Bearer " + tokens_[key].token.value;
  }
  if (!find_scheme(challenges_, "basic")) return std::string();
  if (credentials_.username.empty()) return fail(ErrorKind::kDenied, "no basic auth credentials");
  return basic_authorization(credentials_);
}

Result<bool> TokenKeeper::challenged(std::vector<Challenge> challenges, const std::vector<std::string>& scopes,
                                     const std::string& used) {
  std::lock_guard lock(mutex_);
  if (!credentials_.registry_token.empty() || challenges.empty()) return false;
  const Challenge* bearer = find_scheme(challenges, "bearer");
  if (!bearer && !find_scheme(challenges, "basic"))
    return fail(ErrorKind::kUnsupported, "no supported authentication scheme: %s", scheme_names(challenges).c_str());
  bool known = !challenges_.empty();
  if (known && !bearer) return false;
  if (bearer)
    for (auto& scope : split(bearer->get("scope"), ' ')) {
      auto have = all_scopes(scopes);
      if (!scope.empty() && scope.size() <= kMaxScope && demanded_.size() < kMaxDemandedScopes &&
          std::find(have.begin(), have.end(), scope) == have.end())
        demanded_.push_back(scope);
    }
  // Another thread may have fetched a new one meanwhile: then that one is tried.
  auto held = tokens_.find(join(all_scopes(scopes), " "));
  if (held != tokens_.end() && "Bearer " + held->second.token.value == used) tokens_.erase(held);
  challenges_ = std::move(challenges);
  return true;
}

Result<> TokenKeeper::fetch(const Challenge& challenge, const std::vector<std::string>& scopes) {
  auto realm = parse_url(challenge.get("realm"));
  if (!realm) return fail(ErrorKind::kDenied, "malformed token realm %s", quoted(challenge.get("realm")).c_str());
  TRY_CTX(check_redirect(base_, *realm, 0), "token realm");
  bool trusted = may_send_credentials(base_, *realm, true);
  bool named = trusted && !credentials_.username.empty();
  RealmRequest get{.method = "GET"};
  RealmRequest post{.method = "POST", .body = token_form(challenge, scopes, credentials_, offline_)};
  Url with_query = *realm;
  with_query.target += realm->target.contains('?') ? '&' : '?';
  with_query.target += token_query(challenge, scopes, named ? credentials_.username : "", offline_ && named);
  if (named) get.authorization = basic_authorization(credentials_);

  bool by_identity = trusted && !credentials_.identity_token.empty();
  RealmAnswer answer = TRY(by_identity ? ask_(*realm, post) : ask_(with_query, get));
  // Both forms are in the specification of tokens; servers of one form only answer the other with one of these.
  bool other_form = answer.status == 404 || answer.status == 405;
  if (other_form && !by_identity && named) answer = TRY(ask_(*realm, post));
  if (answer.status != 200) {
    auto failure = failure_of_response(answer.status, answer.body);
    if (answer.status == 401 || answer.status == 403) {
      auto reason = parse_registry_error(answer.body);
      failure.error.message =
          "unauthorized: " + (reason                 ? reason->message
                              : answer.status == 401 ? std::string("incorrect username or password")
                                                     : std::string("access denied by the authorization server"));
    }
    return std::unexpected(std::move(failure.error));
  }
  Held held{TRY(parse_token(answer.body))};
  // Used up to 90 % of its life, so that it does not end between our check and the registry's.
  held.deadline_ns = monotonic_ns() + held.token.expires_in_s * 900'000'000;
  if (!held.token.identity_token.empty()) identity_token_ = held.token.identity_token;
  if (tokens_.size() >= kMaxHeldTokens) tokens_.clear();
  tokens_[join(scopes, " ")] = std::move(held);
  return {};
}

}  // namespace caisson::registry
