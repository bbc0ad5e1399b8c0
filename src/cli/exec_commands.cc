// SPDX-License-Identifier: Apache-2.0
// exec.
#include "base/text.h"
#include "cli/command.h"
#include "cli/container_checks.h"
#include "cli/containers.h"
#include "cli/env_file.h"
#include "cli/session.h"

namespace caisson::cli {

namespace {

JsonValue console_size() {
  sys::TerminalSize size = sys::terminal_size(1);
  JsonValue pair = JsonValue::array();
  pair.push(static_cast<int64_t>(size.rows));
  pair.push(static_cast<int64_t>(size.rows ? size.columns : 0));
  return pair;
}

struct ExecOptions {
  std::string container;
  bool detach = false, interactive = false, tty = false;
  std::string detach_keys;
};

Result<JsonValue> exec_config(App& app, const Invocation& call, const ExecOptions& options) {
  const ParsedFlags& flags = call.flags;
  JsonValue config = JsonValue::object();
  if (flags.changed("user")) config.set("User", flags.text("user"));
  if (flags.on("kill-with-client")) config.set("KillOnDetach", true);
  if (flags.on("privileged")) config.set("Privileged", true);
  if (options.tty) config.set("Tty", true);
  if (!options.detach) {
    config.set("AttachStdin", options.interactive);
    config.set("AttachStdout", true);
    config.set("AttachStderr", true);
    if (options.tty) config.set("ConsoleSize", console_size());
  }
  if (!options.detach_keys.empty()) config.set("DetachKeys", options.detach_keys);
  std::vector<std::string> env = TRY(read_env_files(flags.list("env-file"), app.environment));
  for (std::string& entry : resolve_env(flags.list("env"), app.environment)) env.push_back(std::move(entry));
  if (!env.empty()) config.set("Env", env);
  if (flags.changed("workdir")) config.set("WorkingDir", flags.text("workdir"));
  config.set("Cmd", std::vector<std::string>(call.args.begin() + 1, call.args.end()));
  return config;
}

Result<int> run_attached(App& app, const ExecOptions& options, const std::string& id) {
  PumpOptions pump_options{.tty = options.tty, .send_stdin = options.interactive};
  if (options.tty) {
    if (options.interactive) pump_options.detach_keys = TRY(detach_keys_of(app, options.detach_keys));
    pump_options.on_resize = [&](sys::TerminalSize size) {
      http::Query query;
      query.add("h", std::to_string(size.rows));
      query.add("w", std::to_string(size.columns));
      if (size.rows) (void)app.engine().post("/exec/" + id + "/resize", query);  // it may just have ended, ignoring
    };
  }
  JsonValue start = JsonValue::object();
  start.set("Detach", false);
  start.set("Tty", options.tty);
  if (options.tty) start.set("ConsoleSize", console_size());
  http::Headers headers;
  headers.add("Content-Type", "application/json");
  headers.add("Connection", "Upgrade");
  headers.add("Upgrade", "tcp");
  std::string path = "/exec/" + id + "/start", body = start.dump();
  Engine::Stream stream =
      TRY(app.engine().open({.method = "POST", .path = path, .query = {}, .headers = headers, .body = body}));
  Pump pump(app, std::move(pump_options));
  TRY(pump.prepare());
  auto result = pump.run(stream.client->hijack());
  pump.restore_terminal();
  if (!result) return std::unexpected(result.error());
  if (result->end == PumpEnd::kTerminated) die_of(result->signal);
  if (result->end == PumpEnd::kDetached) {
    app.complain("read escape sequence");
    return 1;
  }
  auto inspected = TRY(app.engine().get("/exec/" + id + "/json"));
  JsonValue state = TRY(JsonValue::parse(inspected.body));
  return static_cast<int>(state.at("ExitCode").as_int());
}

Result<int> exec(App& app, const Invocation& call) {
  ExecOptions options{.container = call.args[0],
                      .detach = call.flags.on("detach"),
                      .interactive = call.flags.on("interactive"),
                      .tty = call.flags.on("tty"),
                      .detach_keys = std::string(call.flags.text("detach-keys"))};
  if (!options.detach) TRY(check_tty(options.interactive, options.tty));
  JsonValue config = TRY(exec_config(app, call, options));
  auto created = TRY(app.engine().post("/containers/" + segment(options.container) + "/exec", {}, config.dump()));
  JsonValue answer = TRY(JsonValue::parse(created.body));
  const std::string& id = answer.at("Id").text();
  if (id.empty()) return fail(ErrorKind::kCorrupt, "exec ID empty");
  if (!options.detach) return run_attached(app, options, id);
  JsonValue start = JsonValue::object();
  start.set("Detach", true);
  start.set("Tty", options.tty);
  TRY(app.engine().post("/exec/" + id + "/start", {}, start.dump()));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "detach", .shorthand = 'd', .usage = "Detached mode: run command in the background"},
    {.name = "detach-keys",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Override the key sequence for detaching a container"},
    {.name = "env",
     .shorthand = 'e',
     .kind = FlagKind::kList,
     .type_name = "list",
     .usage = "Set environment variables",
     .check = check_env},
    {.name = "env-file",
     .kind = FlagKind::kList,
     .type_name = "list",
     .usage = "Read in a file of environment variables"},
    {.name = "interactive", .shorthand = 'i', .usage = "Keep STDIN open even if not attached"},
    {.name = "kill-with-client", .usage = "Kill the command when this client ends or detaches"},
    {.name = "privileged", .usage = "Give extended privileges to the command"},
    {.name = "tty", .shorthand = 't', .usage = "Allocate a pseudo-TTY"},
    {.name = "user",
     .shorthand = 'u',
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Username or UID (format: \"<name|uid>[:<group|gid>]\")"},
    {.name = "workdir",
     .shorthand = 'w',
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Working directory inside the container"},
};

}  // namespace

std::span<const Command> exec_commands() {
  static constexpr Command kCommands[] = {
      {.names = "container exec;exec",
       .usage = "[OPTIONS] CONTAINER COMMAND [ARG...]",
       .summary = "Execute a command in a running container",
       .flags = kFlags,
       .min_args = 2,
       .max_args = -1,
       .interspersed = false,
       .function = exec},
  };
  return kCommands;
}

}  // namespace caisson::cli
