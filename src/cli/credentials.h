// SPDX-License-Identifier: Apache-2.0
// Logins of the user as Docker's config.json and its credential helpers (docker-credential-NAME) keep them. The file is
// shared with Docker's client: what is not ours in it stays as it is.
#pragma once

#include <optional>
#include <string>

#include "cli/app.h"
#include "cli/json_value.h"

namespace caisson::cli {

inline constexpr const char* kHubServer = "https://index.docker.io/v1/";

struct Credential {
  std::string server;  // kHubServer or "host[:port]"
  std::string username, password;
  std::string identity_token;  // instead of a password
};

// "https://host:1/v2/" and "host:1" as the key of config.json; docker.io and "" as kHubServer.
std::string credential_key(std::string_view server);

class Credentials {
 public:
  explicit Credentials(App& app);

  // From the helper of this server, else the one for all, else the file. nullopt without a login.
  Result<std::optional<Credential>> find(const std::string& key) const;
  Result<> save(const Credential& credential);
  // False if there was none.
  Result<bool> erase(const std::string& key);
  bool has_helper(const std::string& key) const { return !helper_of(key).empty(); }
  const std::string& file() const { return path_; }

 private:
  std::string helper_of(const std::string& key) const;
  Result<std::string> run_helper(const std::string& helper, const char* action, const std::string& input) const;
  std::optional<Credential> from_file(const std::string& key) const;
  Result<> write_auths(JsonValue auths);

  App& app_;
  std::string path_;
  JsonValue config_;
};

// The value of X-Registry-Auth.
std::string encode_auth(const Credential& credential);

}  // namespace caisson::cli
