// SPDX-License-Identifier: Apache-2.0
// login, logout, search.
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "cli/command.h"
#include "cli/containers.h"
#include "cli/credentials.h"
#include "cli/listing.h"
#include "cli/pull.h"
#include "cli/units.h"
#include "sys/files.h"
#include "sys/terminal.h"

namespace caisson::cli {

namespace {

constexpr size_t kMaxLine = 64 << 10;
constexpr char kInterrupt = 3, kEndOfInput = 4, kBackspace = 127;

// One line from the terminal; not shown while it is typed where `hidden`.
Result<std::string> ask(App& app, const std::string& prompt, bool hidden) {
  // Before the prompt: whoever types at once is not shown, either.
  std::optional<sys::RawTerminal> raw;
  if (hidden) raw.emplace(TRY(sys::RawTerminal::enter(0)));
  (void)app.out.write(prompt);
  app.out.flush();
  std::string line;
  while (line.size() < kMaxLine) {
    char c = 0;
    ssize_t got = read(0, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || c == '\n' || c == '\r' || (hidden && c == kEndOfInput)) break;
    if (hidden && c == kInterrupt) {
      raw.reset();
      app.out.line("");
      return fail(ErrorKind::kCancelled, "interrupted");
    }
    if (hidden && (c == kBackspace || c == '\b')) {
      if (!line.empty()) line.pop_back();
    } else {
      line += c;
    }
  }
  raw.reset();
  if (hidden) app.out.line("");
  return line;
}

struct LoginAnswer {
  std::string status, identity_token;
};

Result<LoginAnswer> try_login(App& app, const Credential& credential) {
  JsonValue body = JsonValue::object();
  body.set("username", credential.username);
  body.set("password", credential.password);
  if (!credential.identity_token.empty()) body.set("identitytoken", credential.identity_token);
  body.set("serveraddress", credential.server);
  auto response = TRY(app.engine().post("/auth", {}, body.dump()));
  JsonValue answer = TRY(JsonValue::parse(response.body));
  return LoginAnswer{answer.at("Status").text(), answer.at("IdentityToken").text()};
}

Result<std::string> password_from_stdin() {
  std::string text = TRY(sys::read_fd(0, kMaxLine));
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  return text;
}

Result<int> login(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  Credential credential{.server = credential_key(call.args.empty() ? "" : call.args[0]),
                        .username = std::string(flags.text("username")),
                        .password = std::string(flags.text("password"))};
  Credentials store(app);
  if (flags.changed("password") && flags.on("password-stdin"))
    return fail(ErrorKind::kInvalid, "conflicting options: cannot specify both --password and --password-stdin");
  if (flags.changed("password"))
    app.complain("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
  if (flags.on("password-stdin")) {
    if (credential.username.empty())
      return fail(ErrorKind::kInvalid, "the --password-stdin option requires --username to be set");
    credential.password = TRY(password_from_stdin());
  }
  if (credential.username.empty() && credential.password.empty()) {
    auto known = TRY(store.find(credential.server));
    if (known) {
      app.out.line("Authenticating with existing credentials...");
      app.out.flush();
      if (auto answer = try_login(app, *known)) {
        app.out.line(answer->status);
        return 0;
      } else {
        app.complain("Login did not succeed, error: " + answer.error().message);
      }
    }
  }
  bool asks = credential.username.empty() || credential.password.empty();
  if (asks && !sys::is_terminal(0))
    return fail(ErrorKind::kInvalid, "Error: Cannot perform an interactive login from a non TTY device");
  if (credential.username.empty()) credential.username = TRY(ask(app, "Username: ", false));
  if (credential.username.empty()) return fail(ErrorKind::kInvalid, "Error: Non-null Username Required");
  if (credential.password.empty()) credential.password = TRY(ask(app, "Password: ", true));
  if (credential.password.empty()) return fail(ErrorKind::kInvalid, "Error: Password Required");
  LoginAnswer answer = TRY(try_login(app, credential));
  credential.identity_token = answer.identity_token;
  TRY_CTX(store.save(credential), "Error saving credentials");
  if (!store.has_helper(credential.server))
    app.complain("\nWARNING! Your credentials are stored unencrypted in '" + store.file() +
                 "'.\nConfigure a credential helper to remove this warning. See\n"
                 "https://docs.docker.com/go/credential-store/\n");
  app.out.line(answer.status);
  return 0;
}

Result<int> logout(App& app, const Invocation& call) {
  std::string key = credential_key(call.args.empty() ? "" : call.args[0]);
  app.out.line("Removing login credentials for " + key);
  app.out.flush();
  TRY(Credentials(app).erase(key));
  return 0;
}

constexpr Column kSearchColumns[] = {
    {"Name", "NAME"}, {"Description", "DESCRIPTION"}, {"StarCount", "STARS"}, {"IsOfficial", "OFFICIAL"}};

Result<int> search(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  Listing listing = TRY(Listing::make(std::string(flags.text("format")),
                                      "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}", kSearchColumns,
                                      "*formatter.searchContext"));
  http::Query query;
  query.add("term", call.args[0]);
  if (int64_t limit = flags.integer("limit"); limit != 0) query.add("limit", std::to_string(limit));
  if (std::string text = filters_json(flags.list("filter")); !text.empty()) query.add("filters", text);
  http::Headers headers;
  auto host = split_once(call.args[0], '/');
  bool named = host && (host->first.contains('.') || host->first.contains(':') || host->first == "localhost");
  if (std::string auth = registry_auth(app, named ? host->first : "docker.io"); !auth.empty())
    headers.add("X-Registry-Auth", auth);
  auto response = TRY(app.engine().call("GET", "/images/search", query, {}, headers));
  JsonValue answer = TRY(JsonValue::parse(response.body));
  std::vector<JsonValue> found = answer.items();
  std::stable_sort(found.begin(), found.end(), [](const JsonValue& a, const JsonValue& b) {
    return a.at("star_count").as_int() > b.at("star_count").as_int();
  });
  for (const JsonValue& hit : found) {
    std::string description = hit.at("description").text();
    for (char& c : description)
      if (c == '\n' || c == '\r' || c == '\t') c = ' ';
    JsonValue row = JsonValue::object();
    row.set("Description", flags.on("no-trunc") ? description : ellipsis(description, 45));
    row.set("IsOfficial", hit.at("is_official").as_bool() ? (listing.is_table() ? "[OK]" : "true")
                                                          : (listing.is_table() ? "" : "false"));
    row.set("Name", hit.at("name").text());
    row.set("StarCount", std::to_string(hit.at("star_count").as_int()));
    TRY(listing.add(row));
  }
  listing.print(app.out);
  return 0;
}

constexpr FlagSpec kLoginFlags[] = {
    {.name = "password",
     .shorthand = 'p',
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Password or Personal Access Token (PAT)"},
    {.name = "password-stdin", .usage = "Take the Password or Personal Access Token (PAT) from stdin"},
    {.name = "username", .shorthand = 'u', .kind = FlagKind::kString, .type_name = "string", .usage = "Username"},
};
constexpr FlagSpec kSearchFlags[] = {
    {.name = "filter",
     .shorthand = 'f',
     .kind = FlagKind::kList,
     .type_name = "filter",
     .usage = "Filter output based on conditions provided"},
    {.name = "format",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Pretty-print search using a Go template"},
    {.name = "limit", .kind = FlagKind::kInt, .type_name = "int", .usage = "Max number of search results"},
    {.name = "no-trunc", .usage = "Don't truncate output"},
};

}  // namespace

std::span<const Command> registry_commands() {
  static constexpr Command kCommands[] = {
      {.names = "login",
       .usage = "[OPTIONS] [SERVER]",
       .summary = "Authenticate to a registry",
       .flags = kLoginFlags,
       .max_args = 1,
       .function = login,
       .details = "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified."},
      {.names = "logout",
       .usage = "[SERVER]",
       .summary = "Log out from a registry",
       .max_args = 1,
       .function = logout,
       .details = "Log out from a registry.\nIf no server is specified, the default is defined by the daemon."},
      {.names = "search",
       .usage = "[OPTIONS] TERM",
       .summary = "Search Docker Hub for images",
       .flags = kSearchFlags,
       .min_args = 1,
       .max_args = 1,
       .function = search},
  };
  return kCommands;
}

}  // namespace caisson::cli
