// SPDX-License-Identifier: Apache-2.0
#include "cli/command.h"

#include <algorithm>

#include "base/text.h"
#include "sys/terminal.h"

namespace caisson::cli {

static constexpr int kFlagError = 125;

std::optional<std::string> App::env(std::string_view name) const {
  for (const std::string& entry : environment)
    if (entry.size() > name.size() && entry[name.size()] == '=' && entry.starts_with(name))
      return entry.substr(name.size() + 1);
  return std::nullopt;
}

Engine& App::engine() {
  if (!engine_) engine_ = std::make_unique<Engine>(options, environment);
  return *engine_;
}

void App::complain(std::string_view text) {
  out.flush();
  err.line(text);
  err.flush();
}

std::vector<std::string> command_names(const Command& command) { return split(command.names, ';'); }

std::span<const Group> command_groups() {
  static constexpr Group kGroups[] = {{"artifact", "Manage files in registries that are no image"},
                                      {"container", "Manage containers"},
                                      {"context", "Manage contexts"},
                                      {"image", "Manage images"},
                                      {"manifest", "Manage image manifests and manifest lists"},
                                      {"network", "Manage networks"},
                                      {"registry", "Serve images as a registry"},
                                      {"system", "Manage Caisson"},
                                      {"volume", "Manage volumes"},
                                      {"secret", "Manage secrets of this host"}};
  return kGroups;
}

std::span<const std::span<const Command>> command_tables() {
  static const std::span<const Command> kTables[] = {
      run_commands(),      list_commands(),     lifecycle_commands(),   stream_commands(),      exec_commands(),
      file_commands(),     stats_commands(),    update_commands(),      prune_commands(),       volume_commands(),
      secret_commands(),   commit_commands(),   clone_commands(),       inspect_commands(),     image_commands(),
      manifest_commands(), artifact_commands(), auto_update_commands(), image_layer_commands(), transfer_commands(),
      registry_commands(), system_commands(),   events_commands(),      disk_usage_commands(),  context_commands(),
      store_commands(),    network_commands(),  image_host_commands(),  dial_commands(),        completion_commands()};
  return kTables;
}

// Compares without splitting: start-up time counts.
static bool has_name(const Command& command, std::string_view wanted) {
  std::string_view names = command.names;
  while (true) {
    size_t end = names.find(';');
    if (names.substr(0, end) == wanted) return true;
    if (end == names.npos) return false;
    names.remove_prefix(end + 1);
  }
}

const Command* find_command(std::string_view name) {
  for (auto table : command_tables())
    for (const Command& command : table)
      if (has_name(command, name)) return &command;
  return nullptr;
}

namespace {

const Group* find_group(std::string_view name) {
  for (const Group& group : command_groups())
    if (name == group.name) return &group;
  return nullptr;
}

std::string shown_path(const Command& command, std::string_view name) {
  std::string_view canonical = std::string_view(command.names).substr(0, std::string_view(command.names).find(';'));
  return std::string(kProgram) + " " + std::string(name.find(' ') == name.npos ? name : canonical);
}

std::string plural(int count) { return format("%d argument%s", count, count == 1 ? "" : "s"); }

// Empty when the count is right.
std::string argument_error(const Command& command, const std::string& path, int count) {
  int least = command.min_args, most = command.max_args;
  if (count >= least && (most < 0 || count <= most)) return {};
  std::string wants = most == 0       ? "accepts no arguments"
                      : most < 0      ? "requires at least " + plural(least)
                      : least == most ? "requires " + plural(least)
                      : least == 0    ? "requires at most " + plural(most)
                                      : format("requires at least %d and at most %s", least, plural(most).c_str());
  return format("%s: '%s' %s\n\nUsage:  %s %s\n\n%s '%s --help' for more information", kProgram, path.c_str(),
                wants.c_str(), path.c_str(), command.usage, most < 0 ? "See" : "Run", path.c_str());
}

int run_command(App& app, const Command& command, std::string_view name, const std::vector<std::string>& args) {
  Invocation call{.path = shown_path(command, name)};
  const std::span<const FlagSpec> tables[] = {command.flags, command.more_flags};
  auto line = parse_flags(tables, args, command.interspersed);
  if (!line) {
    app.complain(line.error().message + "\n\nUsage:  " + call.path + " " + command.usage + "\n\nRun '" + call.path +
                 " --help' for more information");
    return kFlagError;
  }
  if (line->help) {
    if (line->deprecated_help) app.out.line("Flag shorthand -h has been deprecated, use --help");
    app.out.print(command_help(command, call.path, sys::terminal_size(0).columns));
    return 0;
  }
  if (auto error = argument_error(command, call.path, static_cast<int>(line->args.size())); !error.empty()) {
    app.complain(error);
    return 1;
  }
  call.flags = std::move(line->flags);
  call.args = std::move(line->args);
  auto code = command.function(app, call);
  if (code) return *code;
  if (command.run_style) {
    app.complain(std::string(kProgram) + ": " + code.error().message + "\n\nRun '" + call.path +
                 " --help' for more information");
    return kFlagError;
  }
  app.complain(code.error().message);
  return 1;
}

int unknown_command(App& app, const std::string& path, const std::string& word, bool in_group) {
  std::string text = format("%s: unknown command: %s %s\n\n", kProgram, path.c_str(), word.c_str());
  if (in_group) text += "Usage:  " + path + "\n\n";
  app.complain(text + "Run '" + path + " --help' for more information");
  return 1;
}

int show_help(App& app, const std::vector<std::string>& words) {
  size_t columns = sys::terminal_size(0).columns;
  if (words.empty()) {
    app.out.print(top_help(columns));
    return 0;
  }
  if (words.size() > 1 && find_group(words[0])) {
    std::string name = words[0] + " " + words[1];
    if (const Command* command = find_command(name)) {
      app.out.print(command_help(*command, shown_path(*command, name), columns));
      return 0;
    }
  }
  if (const Group* group = find_group(words[0])) {
    app.out.print(group_help(*group));
  } else if (const Command* command = find_command(words[0])) {
    app.out.print(command_help(*command, shown_path(*command, words[0]), columns));
  } else {
    app.complain("unknown help topic: " + join(words, " "));
    return 1;
  }
  return 0;
}

int run_group(App& app, const Group& group, const std::vector<std::string>& rest) {
  std::string path = std::string(kProgram) + " " + group.name;
  if (rest.empty()) {
    // Nothing asked: the help is a hint, not the output.
    app.err.print(group_help(group));
    app.err.flush();
    return 0;
  }
  if (rest[0] == "--help" || rest[0] == "-h") {
    app.out.print(group_help(group));
    return 0;
  }
  if (rest[0].starts_with('-')) {
    bool is_long = rest[0].starts_with("--");
    std::string what =
        is_long ? "unknown flag: " + rest[0].substr(0, rest[0].find('='))
                : format("unknown shorthand flag: '%c' in %s", rest[0].size() > 1 ? rest[0][1] : '-', rest[0].c_str());
    app.complain(what + "\n\nUsage:  " + path + "\n\nRun '" + path + " --help' for more information");
    return kFlagError;
  }
  std::string name = std::string(group.name) + " " + rest[0];
  const Command* command = find_command(name);
  if (!command) return unknown_command(app, path, rest[0], true);
  return run_command(app, *command, name, {rest.begin() + 1, rest.end()});
}

}  // namespace

int run_program(App& app, const std::vector<std::string>& args) {
  const std::span<const FlagSpec> tables[] = {global_flags()};
  auto line = parse_flags(tables, args, false);
  if (!line) {
    app.complain(line.error().message +
                 format("\n\nUsage:  %s [OPTIONS] COMMAND [ARG...]\n\nRun '%s --help' for more information", kProgram,
                        kProgram));
    return kFlagError;
  }
  const ParsedFlags& flags = line->flags;
  if (flags.on("version")) {
    app.out.printf("Caisson version %s, build %s\n", kVersion, kVersion);
    return 0;
  }
  if (line->help || line->args.empty()) return show_help(app, line->args);
  if (line->args[0] == "help") return show_help(app, {line->args.begin() + 1, line->args.end()});
  app.options.hosts = flags.list("host");
  app.options.context = flags.text("context");
  app.options.config_dir = flags.text("config");
  app.options.debug = flags.on("debug");
  app.options.tls = flags.on("tls") || flags.changed("tlsverify");
  app.options.tls_verify = flags.on("tlsverify");
  app.options.tls_ca = flags.text("tlscacert");
  app.options.tls_cert = flags.text("tlscert");
  app.options.tls_key = flags.text("tlskey");
  const std::string& word = line->args[0];
  std::vector<std::string> rest(line->args.begin() + 1, line->args.end());
  const Group* group = find_group(word);
  const Command* command = group ? nullptr : find_command(word);
  if (!group && (!command || word.find(' ') != word.npos)) return unknown_command(app, kProgram, word, false);
  // A context in use that is broken or gone can be left with `context use`.
  if (auto chosen = choose_host(app.options, app.environment); !chosen && word != "context") {
    app.complain(chosen.error().message);
    return 1;
  }
  return group ? run_group(app, *group, rest) : run_command(app, *command, word, rest);
}

}  // namespace caisson::cli
