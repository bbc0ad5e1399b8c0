// SPDX-License-Identifier: Apache-2.0
// logs, attach, top, port.
#include <signal.h>

#include <algorithm>

#include "base/clock.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/containers.h"
#include "cli/session.h"
#include "cli/stdcopy.h"
#include "cli/table.h"
#include "cli/units.h"

namespace caisson::cli {

namespace {

Result<> add_time(http::Query& query, const ParsedFlags& flags, const char* name) {
  if (flags.text(name).empty()) return {};
  auto time = timestamp_param(flags.text(name), now_ns());
  if (!time) return fail(ErrorKind::kInvalid, "invalid value for \"%s\": %s", name, time.error().message.c_str());
  query.add(name, *time);
  return {};
}

Result<int> logs(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  JsonValue container = TRY(inspect_container(app, call.args[0]));
  if (flags.on("clear")) {
    TRY(app.engine().call("DELETE", "/containers/" + container.at("Id").text() + "/logs"));
    return 0;
  }
  http::Query query;
  if (flags.on("details")) query.add("details", "1");
  if (flags.on("follow")) query.add("follow", "1");
  TRY(add_time(query, flags, "since"));
  query.add("stderr", "1");
  query.add("stdout", "1");
  query.add("tail", std::string(flags.text("tail")));
  if (flags.on("timestamps")) query.add("timestamps", "1");
  TRY(add_time(query, flags, "until"));
  std::string path = "/containers/" + container.at("Id").text() + "/logs";
  Engine::Stream stream = TRY(app.engine().open({.path = path, .query = query}));
  bool raw = container.at("Config", "Tty").as_bool();
  FrameReader frames([](int number, std::string_view data) {
    if (!write_out(number == 2 ? 2 : 1, data)) die_of(SIGPIPE);
  });
  std::string buffer(64 << 10, '\0');
  while (true) {
    size_t n = TRY(stream.client->read(buffer));
    if (n == 0) return 0;
    std::string_view data(buffer.data(), n);
    if (!raw)
      TRY(frames.feed(data));
    else if (!write_out(1, data))
      die_of(SIGPIPE);
  }
}

Result<int> attach(App& app, const Invocation& call) {
  const ParsedFlags& flags = call.flags;
  JsonValue container = TRY(inspect_container(app, call.args[0]));
  const JsonValue& state = container.at("State");
  if (!state.at("Running").as_bool())
    return fail(ErrorKind::kConflict, "You cannot attach to a stopped container, start it first");
  if (state.at("Paused").as_bool())
    return fail(ErrorKind::kConflict, "You cannot attach to a paused container, unpause it first");
  if (state.at("Restarting").as_bool())
    return fail(ErrorKind::kConflict, "You cannot attach to a restarting container, wait until it is running");
  const JsonValue& config = container.at("Config");
  bool tty = config.at("Tty").as_bool(), with_stdin = !flags.on("no-stdin") && config.at("OpenStdin").as_bool();
  TRY(check_tty(with_stdin, tty));
  Session session(app, {.container = call.args[0],
                        .tty = tty,
                        .attach_stdin = with_stdin,
                        .attach_stdout = true,
                        .attach_stderr = true,
                        .sig_proxy = flags.on("sig-proxy"),
                        .detach_keys = std::string(flags.text("detach-keys"))});
  TRY(session.watch_exit(""));
  TRY(session.attach());
  if (TRY(session.pump()) == PumpEnd::kDetached) {
    app.complain("read escape sequence");
    return 1;
  }
  return session.exit_code();
}

Result<int> top(App& app, const Invocation& call) {
  http::Query query;
  if (call.args.size() > 1) query.add("ps_args", join({call.args.begin() + 1, call.args.end()}, " "));
  auto response = TRY(app.engine().get("/containers/" + segment(call.args[0]) + "/top", query));
  JsonValue answer = TRY(JsonValue::parse(response.body));
  std::string text;
  auto add = [&](const JsonValue& cells) {
    for (size_t i = 0; i < cells.items().size(); ++i) text += (i ? "\t" : "") + cells.items()[i].text();
    text += "\n";
  };
  add(answer.at("Titles"));
  for (const JsonValue& process : answer.at("Processes").items()) add(process);
  app.out.print(align_table(text, 20));
  return 0;
}

std::string binding_text(const JsonValue& binding) {
  const std::string& ip = binding.at("HostIp").text();
  return (ip.find(':') != ip.npos ? "[" + ip + "]" : ip) + ":" + binding.at("HostPort").text();
}

// "9/tcp" before "80/tcp".
bool port_before(const std::string& a, const std::string& b) {
  auto number = [](const std::string& text) { return parse_uint(text.substr(0, text.find('/'))).value_or(0); };
  return number(a) != number(b) ? number(a) < number(b) : a < b;
}

Result<int> port(App& app, const Invocation& call) {
  JsonValue container = TRY(inspect_container(app, call.args[0]));
  const JsonValue& ports = container.at("NetworkSettings", "Ports");
  if (call.args.size() == 2) {
    std::string wanted = call.args[1], key = wanted.find('/') == wanted.npos ? wanted + "/tcp" : to_lower(wanted);
    const JsonValue& bindings = ports.at(key);
    if (bindings.items().empty())
      return fail(ErrorKind::kNotFound, "Error: No public port '%s' published for %s", wanted.c_str(),
                  call.args[0].c_str());
    for (const JsonValue& binding : bindings.items()) app.out.line(binding_text(binding));
    return 0;
  }
  std::vector<std::pair<std::string, std::string>> lines;
  for (const auto& [name, bindings] : ports.members())
    for (const JsonValue& binding : bindings.items()) lines.emplace_back(name, binding_text(binding));
  std::stable_sort(lines.begin(), lines.end(),
                   [](const auto& a, const auto& b) { return port_before(a.first, b.first); });
  for (const auto& [name, binding] : lines) app.out.line(name + " -> " + binding);
  return 0;
}

constexpr FlagSpec kLogsFlags[] = {
    {.name = "clear", .usage = "Empty the log instead of showing it"},
    {.name = "details", .usage = "Show extra details provided to logs"},
    {.name = "follow", .shorthand = 'f', .usage = "Follow log output"},
    {.name = "since",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"},
    {.name = "tail",
     .shorthand = 'n',
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Number of lines to show from the end of the logs (default \"all\")",
     .initial = "all"},
    {.name = "timestamps", .shorthand = 't', .usage = "Show timestamps"},
    {.name = "until",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"},
};
constexpr FlagSpec kAttachFlags[] = {
    {.name = "detach-keys",
     .kind = FlagKind::kString,
     .type_name = "string",
     .usage = "Override the key sequence for detaching a container"},
    {.name = "no-stdin", .usage = "Do not attach STDIN"},
    {.name = "sig-proxy", .usage = "Proxy all received signals to the process (default true)", .initial = "true"},
};

}  // namespace

std::span<const Command> stream_commands() {
  static constexpr Command kCommands[] = {
      {.names = "container logs;logs",
       .usage = "[OPTIONS] CONTAINER",
       .summary = "Fetch the logs of a container",
       .flags = kLogsFlags,
       .min_args = 1,
       .max_args = 1,
       .function = logs},
      {.names = "container attach;attach",
       .usage = "[OPTIONS] CONTAINER",
       .summary = "Attach local standard input, output, and error streams to a running container",
       .flags = kAttachFlags,
       .min_args = 1,
       .max_args = 1,
       .function = attach},
      {.names = "container top;top",
       .usage = "CONTAINER [ps OPTIONS]",
       .summary = "Display the running processes of a container",
       .min_args = 1,
       .max_args = -1,
       .interspersed = false,
       .function = top},
      {.names = "container port;port",
       .usage = "CONTAINER [PRIVATE_PORT[/PROTO]]",
       .summary = "List port mappings or a specific mapping for the container",
       .min_args = 1,
       .max_args = 2,
       .function = port},
  };
  return kCommands;
}

}  // namespace caisson::cli
