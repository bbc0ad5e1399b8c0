// SPDX-License-Identifier: Apache-2.0
// start, stop, restart, kill, wait, rm, rename, pause, unpause.
#include "base/text.h"
#include "cli/command.h"
#include "cli/containers.h"
#include "cli/session.h"

namespace caisson::cli {

namespace {

std::string container_path(const std::string& name, const char* action) {
  return "/containers/" + segment(name) + "/" + action;
}

Result<int> start_attached(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  if (call.args.size() > 1) return fail(ErrorKind::kInvalid, "you cannot start and attach multiple containers at once");
  JsonValue container = TRY(inspect_container(app, call.args[0]));
  const JsonValue& config = container.at("Config");
  Session session(app, {.container = container.at("Id").text(),
                        .tty = config.at("Tty").as_bool(),
                        .attach_stdin = flags.on("interactive") && config.at("OpenStdin").as_bool(),
                        .attach_stdout = true,
                        .attach_stderr = true,
                        .sig_proxy = true,
                        .detach_keys = std::string(flags.text("detach-keys"))});
  TRY(session.attach());
  bool auto_remove = container.at("HostConfig", "AutoRemove").as_bool();
  TRY(session.watch_exit(auto_remove ? "removed" : "next-exit"));
  if (auto started = app.engine().post("/containers/" + container.at("Id").text() + "/start"); !started) {
    session.abandon();
    return std::unexpected(started.error());
  }
  if (TRY(session.pump()) == PumpEnd::kDetached) {
    app.complain("read escape sequence");
    return 1;
  }
  return session.exit_code();
}

Result<int> start(App& app, const Invocation& call) {
  if (call.flags.on("attach") || call.flags.on("interactive")) return start_attached(app, call);
  int failed = 0;
  http::Query query;
  if (call.flags.changed("checkpoint")) query.add("checkpoint", std::string(call.flags.text("checkpoint")));
  if (call.flags.changed("checkpoint-dir")) query.add("checkpoint-dir", std::string(call.flags.text("checkpoint-dir")));
  std::vector<std::string> names;
  for (const std::string& name : call.args) {
    if (auto started = app.engine().post(container_path(name, "start"), query)) {
      app.out.line(name);
      continue;
    } else {
      app.complain(started.error().message);
    }
    names.push_back(name);
    failed = 1;
  }
  if (failed) app.complain("Error: failed to start containers: " + join(names, ", "));
  return failed;
}

http::Query stop_query(const ParsedFlags& flags) {
  http::Query query;
  if (flags.changed("signal")) query.add("signal", std::string(flags.text("signal")));
  if (flags.changed("timeout")) query.add("t", std::string(flags.text("timeout")));
  return query;
}

Result<int> stop_like(App& app, const Invocation& call, const char* action, const http::Query& query) {
  auto outcomes = run_for_all(app, call.args, [&](Engine& engine, const std::string& name) -> Result<> {
    TRY(engine.post(container_path(name, action), query));
    return {};
  });
  return print_outcomes(app, call.args, outcomes);
}

Result<int> stop(App& app, const Invocation& call) { return stop_like(app, call, "stop", stop_query(call.flags)); }
Result<int> restart(App& app, const Invocation& call) {
  return stop_like(app, call, "restart", stop_query(call.flags));
}
Result<int> kill(App& app, const Invocation& call) { return stop_like(app, call, "kill", stop_query(call.flags)); }
Result<int> pause(App& app, const Invocation& call) { return stop_like(app, call, "pause", {}); }
Result<int> unpause(App& app, const Invocation& call) { return stop_like(app, call, "unpause", {}); }

Result<int> wait(App& app, const Invocation& call) {
  std::string errors;
  for (const std::string& name : call.args) {
    auto response = app.engine().post(container_path(name, "wait"));
    auto value = response ? JsonValue::parse(response->body) : Result<JsonValue>(std::unexpected(response.error()));
    if (value) {
      app.out.line(value->at("StatusCode").text());
      app.out.flush();
    } else {
      errors += (errors.empty() ? "" : "\n") + value.error().message;
    }
  }
  if (errors.empty()) return 0;
  app.complain(errors);
  return 1;
}

Result<int> remove(App& app, const Invocation& call) {
  bool force = call.flags.on("force");
  http::Query query;
  if (force) query.add("force", "1");
  if (call.flags.on("link")) query.add("link", "1");
  if (call.flags.on("volumes")) query.add("v", "1");
  std::vector<std::string> names = call.args;
  for (std::string& name : names) {
    while (name.starts_with('/')) name.erase(0, 1);
    if (name.empty()) return fail(ErrorKind::kInvalid, "Container name cannot be empty");
  }
  auto outcomes = run_for_all(app, names, [&](Engine& engine, const std::string& name) -> Result<> {
    TRY(engine.call("DELETE", "/containers/" + segment(name), query));
    return {};
  });
  // With --force a container that is gone is said, but is what was wanted.
  for (size_t i = names.size(); force && i-- > 0;) {
    if (outcomes[i] || outcomes[i].error().kind != ErrorKind::kNotFound) continue;
    app.complain(outcomes[i].error().message);
    names.erase(names.begin() + static_cast<long>(i));
    outcomes.erase(outcomes.begin() + static_cast<long>(i));
  }
  return print_outcomes(app, names, outcomes);
}

Result<int> rename(App& app, const Invocation& call) {
  std::string from(trim(call.args[0])), to(trim(call.args[1]));
  if (from.empty() || to.empty()) return fail(ErrorKind::kInvalid, "Error: Neither old nor new names may be empty");
  http::Query query;
  query.add("name", to);
  auto renamed = app.engine().post(container_path(from, "rename"), query);
  if (renamed) return 0;
  app.complain(renamed.error().message);
  return fail(ErrorKind::kInternal, "Error: failed to rename container named %s", from.c_str());
}

constexpr FlagSpec kStartFlags[] = {
    {.name = "attach", .shorthand = 'a', .usage = "Attach STDOUT/STDERR and forward signals"},
    {.name = "checkpoint",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Restore from this checkpoint",
     .hidden = true},
    {.name = "checkpoint-dir",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Use a custom checkpoint storage directory",
     .hidden = true},
    {.name = "detach-keys",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Override the key sequence for detaching a container"},
    {.name = "interactive", .shorthand = 'i', .usage = "Attach container's STDIN"},
};
constexpr FlagSpec kStopFlags[] = {
    {.name = "signal",
     .shorthand = 's',
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Signal to send to the container"},
    {.name = "time", .kind = FlagKind::kInt, .hidden = true, .alias_of = "timeout"},
    {.name = "timeout",
     .shorthand = 't',
     .kind = FlagKind::kInt,
     .type_name = "int",
     .usage = "Seconds to wait before killing the container"},
};
constexpr FlagSpec kKillFlags[] = {
    {.name = "signal",
     .shorthand = 's',
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Signal to send to the container"},
};
constexpr FlagSpec kRemoveFlags[] = {
    {.name = "force", .shorthand = 'f', .usage = "Force the removal of a running container (uses SIGKILL)"},
    {.name = "link", .shorthand = 'l', .usage = "Remove the specified link"},
    {.name = "volumes", .shorthand = 'v', .usage = "Remove anonymous volumes associated with the container"},
};

}  // namespace

std::span<const Command> lifecycle_commands() {
  static constexpr Command kCommands[] = {
      {.names = "container start;start",
       .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
       .summary = "Start one or more stopped containers",
       .flags = kStartFlags,
       .min_args = 1,
       .max_args = -1,
       .function = start},
      {.names = "container stop;stop",
       .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
       .summary = "Stop one or more running containers",
       .flags = kStopFlags,
       .min_args = 1,
       .max_args = -1,
       .function = stop},
      {.names = "container restart;restart",
       .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
       .summary = "Restart one or more containers",
       .flags = kStopFlags,
       .min_args = 1,
       .max_args = -1,
       .function = restart},
      {.names = "container kill;kill",
       .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
       .summary = "Kill one or more running containers",
       .flags = kKillFlags,
       .min_args = 1,
       .max_args = -1,
       .function = kill},
      {.names = "container wait;wait",
       .usage = "CONTAINER [CONTAINER...]",
       .summary = "Block until one or more containers stop, then print their exit codes",
       .min_args = 1,
       .max_args = -1,
       .function = wait},
      {.names = "container rm;container remove;rm",
       .usage = "[OPTIONS] CONTAINER [CONTAINER...]",
       .summary = "Remove one or more containers",
       .flags = kRemoveFlags,
       .min_args = 1,
       .max_args = -1,
       .function = remove},
      {.names = "container rename;rename",
       .usage = "CONTAINER NEW_NAME",
       .summary = "Rename a container",
       .min_args = 2,
       .max_args = 2,
       .function = rename},
      {.names = "container pause;pause",
       .usage = "CONTAINER [CONTAINER...]",
       .summary = "Pause all processes within one or more containers",
       .min_args = 1,
       .max_args = -1,
       .function = pause},
      {.names = "container unpause;unpause",
       .usage = "CONTAINER [CONTAINER...]",
       .summary = "Unpause all processes within one or more containers",
       .min_args = 1,
       .max_args = -1,
       .function = unpause},
  };
  return kCommands;
}

}  // namespace caisson::cli
