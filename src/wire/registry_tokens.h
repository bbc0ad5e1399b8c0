// SPDX-License-Identifier: Apache-2.0
// What a registry client shows to be let in: picks among the registry's challenges, fetches bearer tokens and keeps
// them by scope until they run out. Thread-safe; blocking while a token is fetched.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.h"
#include "wire/registry_auth.h"
#include "wire/registry_url.h"

namespace caisson::registry {

struct RealmRequest {
  std::string method, body, authorization;
};
struct RealmAnswer {
  int status = 0;
  std::string body;
};
// One exchange with a token realm; no redirects.
using AskRealm = std::function<Result<RealmAnswer>(const Url& realm, const RealmRequest& request)>;

class TokenKeeper {
 public:
  // `offline`: an identity token is wanted beside the first bearer token.
  TokenKeeper(Credentials credentials, bool offline, AskRealm ask);

  // What the registry at `base` said at the first contact.
  void begin(const Url& base, std::vector<Challenge> challenges);
  // The value of Authorization for a request that needs `scopes`, "" for none. kDenied if the registry wants what
  // the user did not give, or the realm refuses.
  Result<std::string> authorization(const std::vector<std::string>& scopes);
  // After a 401 to a request that carried `used`. True if it is worth repeating with a new authorization().
  Result<bool> challenged(std::vector<Challenge> challenges, const std::vector<std::string>& scopes,
                          const std::string& used);
  // What the realm gave beside a token; "" without one.
  std::string identity_token();

 private:
  struct Held {
    Token token;
    int64_t deadline_ns = 0;
  };
  std::vector<std::string> all_scopes(const std::vector<std::string>& scopes) const;
  Result<> fetch(const Challenge& challenge, const std::vector<std::string>& scopes);

  const Credentials credentials_;
  const bool offline_;
  const AskRealm ask_;
  std::mutex mutex_;  // held while a token is fetched, so that it is fetched once
  Url base_;
  std::vector<Challenge> challenges_;
  std::vector<std::string> demanded_;  // scopes that only a challenge told of
  std::map<std::string, Held> tokens_;
  std::string identity_token_;
};

}  // namespace caisson::registry
