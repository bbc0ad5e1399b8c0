// SPDX-License-Identifier: Apache-2.0
#include "cli/credentials.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/programs.h"
#include "sys/files.h"
#include "sys/process.h"
#include "sys/unix_socket.h"
#include "wire/base64.h"

namespace caisson::cli {

namespace {

constexpr size_t kMaxConfig = 4 << 20, kMaxHelperAnswer = 256 << 10;
constexpr std::string_view kIdentityUser = "<token>";  // a helper's user name for an identity token

std::string host_of(std::string_view server) {
  if (size_t scheme = server.find("://"); scheme != server.npos) server.remove_prefix(scheme + 3);
  return std::string(server.substr(0, server.find('/')));
}

// Base64 with the URL alphabet, padded, as Docker's client sends it.
std::string base64url(std::string_view text) {
  std::string out = base64_encode(text);
  for (char& c : out) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return out;
}

}  // namespace

std::string credential_key(std::string_view server) {
  std::string host = host_of(server);
  return host.empty() || host == "docker.io" || host == "index.docker.io" ? kHubServer : host;
}

Credentials::Credentials(App& app) : app_(app), path_(app.options.config_dir + "/config.json") {
  config_ = JsonValue::object();
  // A file that cannot be read holds no logins; what writes it says so.
  if (auto text = sys::read_file(path_, kMaxConfig))
    if (auto parsed = JsonValue::parse(*text); parsed && parsed->is_object()) config_ = std::move(*parsed);
}

std::string Credentials::helper_of(const std::string& key) const {
  if (const JsonValue* own = config_.at("credHelpers").find(key); own && !own->text().empty()) return own->text();
  return config_.at("credsStore").text();
}

Result<std::string> Credentials::run_helper(const std::string& helper, const char* action,
                                            const std::string& input) const {
  std::string name = "docker-credential-" + helper,
              program = helper.contains('/') ? "" : find_program(app_.environment, name);
  if (program.empty())
    return fail(ErrorKind::kNotFound, "error getting credentials - err: exec: %s: executable file not found in $PATH",
                quoted(name).c_str());
  // A socket takes what a pipe of its own would: the helper reads its input to the end before it answers.
  auto channel = TRY(sys::socket_pair(SOCK_STREAM));
  sys::SpawnRequest request;
  request.program = program;
  request.args = {name, action};
  request.env = app_.environment;
  request.fds = {{channel.second.get(), 0}, {channel.second.get(), 1}, {2, 2}};
  auto child = TRY_CTX(sys::spawn(request), "starting " + name);
  channel.second.reset();
  TRY(sys::write_all(channel.first.get(), input + "\n"));
  shutdown(channel.first.get(), SHUT_WR);
  auto answer = sys::read_fd(channel.first.get(), kMaxHelperAnswer);
  channel.first.reset();
  int code = TRY(sys::wait_child(child));
  std::string text = TRY(std::move(answer));
  if (code == 0) return text;
  std::string reason(trim(text));
  bool absent = reason.contains("credentials not found");
  return fail(absent ? ErrorKind::kNotFound : ErrorKind::kUnavailable,
              "error %s credentials - err: exit status %d, out: `%s`", *action == 'g' ? "getting" : "storing", code,
              reason.substr(0, 512).c_str());
}

std::optional<Credential> Credentials::from_file(const std::string& key) const {
  const JsonValue* entry = config_.at("auths").find(key);
  if (!entry || entry->members().empty()) {
    // Older files have the address with a scheme or a path.
    for (const auto& [name, value] : config_.at("auths").members())
      if (credential_key(name) == key) entry = &value;
  }
  if (!entry || entry->members().empty()) return std::nullopt;
  Credential out{.server = key};
  auto plain = base64_decode_url(entry->at("auth").text());
  if (auto pair = plain ? split_once(*plain, ':') : std::nullopt) {
    out.username = pair->first;
    out.password = pair->second;
    while (out.password.ends_with('\0')) out.password.pop_back();
  }
  out.identity_token = entry->at("identitytoken").text();
  if (out.username.empty() && out.identity_token.empty()) return std::nullopt;
  return out;
}

Result<std::optional<Credential>> Credentials::find(const std::string& key) const {
  std::string helper = helper_of(key);
  if (helper.empty()) return from_file(key);
  auto answer = run_helper(helper, "get", key);
  if (!answer && answer.error().message.contains("credentials not found")) return from_file(key);
  if (!answer) return std::unexpected(std::move(answer).error());
  JsonValue parsed = TRY_CTX(JsonValue::parse(*answer), "answer of docker-credential-" + helper);
  Credential out{.server = key};
  if (parsed.at("Username").text() == kIdentityUser) {
    out.identity_token = parsed.at("Secret").text();
  } else {
    out.username = parsed.at("Username").text();
    out.password = parsed.at("Secret").text();
  }
  if (out.username.empty() && out.identity_token.empty()) return std::optional<Credential>();
  return std::optional(std::move(out));
}

Result<> Credentials::write_auths(JsonValue auths) {
  if (auto text = sys::read_file(path_, kMaxConfig); text && !trim(*text).empty()) {
    auto parsed = JsonValue::parse(*text);
    if (!parsed || !parsed->is_object())
      return fail(ErrorKind::kInvalid, "'%s' is not JSON: it is left as it is", path_.c_str());
  }
  config_.set("auths", std::move(auths));
  TRY(sys::make_dirs(app_.options.config_dir, 0700));
  return sys::replace_file(path_, indent_json(config_.dump(), 8) + "\n", 0600);
}

Result<> Credentials::save(const Credential& credential) {
  JsonValue auths = JsonValue::object();
  for (const auto& [name, value] : config_.at("auths").members())
    if (credential_key(name) != credential.server) auths.set(name, value);
  JsonValue entry = JsonValue::object();
  if (std::string helper = helper_of(credential.server); !helper.empty()) {
    JsonValue document = JsonValue::object();
    document.set("ServerURL", credential.server);
    document.set("Username", credential.identity_token.empty() ? credential.username : std::string(kIdentityUser));
    document.set("Secret", credential.identity_token.empty() ? credential.password : credential.identity_token);
    TRY(run_helper(helper, "store", document.dump()));
  } else {
    std::string password = credential.identity_token.empty() ? credential.password : "";
    entry.set("auth", base64_encode(credential.username + ":" + password));
    if (!credential.identity_token.empty()) entry.set("identitytoken", credential.identity_token);
  }
  auths.set(credential.server, std::move(entry));
  return write_auths(std::move(auths));
}

Result<bool> Credentials::erase(const std::string& key) {
  bool found = false;
  JsonValue auths = JsonValue::object();
  for (const auto& [name, value] : config_.at("auths").members()) {
    if (credential_key(name) == key)
      found = true;
    else
      auths.set(name, value);
  }
  if (std::string helper = helper_of(key); !helper.empty()) {
    auto erased = run_helper(helper, "erase", key);
    if (!erased && erased.error().kind != ErrorKind::kNotFound) return std::unexpected(std::move(erased).error());
    found = found || erased.has_value();
  }
  if (found) TRY(write_auths(std::move(auths)));
  return found;
}

std::string encode_auth(const Credential& credential) {
  JsonValue auth = JsonValue::object();
  if (!credential.username.empty()) auth.set("username", credential.username);
  if (!credential.password.empty()) auth.set("password", credential.password);
  if (!credential.identity_token.empty()) auth.set("identitytoken", credential.identity_token);
  auth.set("serveraddress", credential.server);
  return base64url(auth.dump());
}

}  // namespace caisson::cli
