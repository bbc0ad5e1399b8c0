// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/text.h"
#include "cli/command.h"

namespace caisson::cli {

std::span<const FlagSpec> global_flags() {
  static constexpr FlagSpec kFlags[] = {
      {.name = "config",
       .kind = FlagKind::kString,
       .type_name = "string",
       .usage = "Location of client config files (default \"~/.docker\")"},
      {.name = "context",
       .shorthand = 'c',
       .kind = FlagKind::kString,
       .type_name = "string",
       .usage =
           "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context "
           "set with \"docker context use\")"},
      {.name = "debug", .shorthand = 'D', .usage = "Enable debug mode"},
      {.name = "host",
       .shorthand = 'H',
       .kind = FlagKind::kList,
       .type_name = "list",
       .usage = "Daemon socket to connect to"},
      {.name = "log-level",
       .shorthand = 'l',
       .kind = FlagKind::kString,
       .type_name = "string",
       .usage = "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\") (default \"info\")",
       .initial = "info"},
      {.name = "tls", .usage = "Use TLS; implied by --tlsverify"},
      {.name = "tlscacert",
       .kind = FlagKind::kString,
       .type_name = "string",
       .usage = "Trust certs signed only by this CA (default \"~/.docker/ca.pem\")"},
      {.name = "tlscert",
       .kind = FlagKind::kString,
       .type_name = "string",
       .usage = "Path to TLS certificate file (default \"~/.docker/cert.pem\")"},
      {.name = "tlskey",
       .kind = FlagKind::kString,
       .type_name = "string",
       .usage = "Path to TLS key file (default \"~/.docker/key.pem\")"},
      {.name = "tlsverify", .usage = "Use TLS and verify the remote"},
      {.name = "version", .shorthand = 'v', .usage = "Print version information and quit"},
  };
  return kFlags;
}

namespace {

struct Line {
  std::string name, summary;
};

std::string lines_text(std::vector<Line> lines, bool sort) {
  if (sort) std::sort(lines.begin(), lines.end(), [](const Line& a, const Line& b) { return a.name < b.name; });
  std::string out;
  size_t widest = 11;
  for (const Line& line : lines) widest = std::max(widest, line.name.size());
  for (const Line& line : lines)
    out += "  " + line.name + std::string(widest - line.name.size() + 1, ' ') + line.summary + "\n";
  return out;
}

}  // namespace

std::string top_help(size_t columns) {
  static constexpr std::string_view kCommon[] = {"run",    "exec",  "ps",     "build",  "pull",    "push",
                                                 "images", "login", "logout", "search", "version", "info"};
  std::vector<Line> common, other, management;
  for (std::string_view name : kCommon)
    for (auto table : command_tables())
      for (const Command& command : table)
        for (const std::string& known : command_names(command))
          if (known == name) common.push_back({known, command.summary});
  for (auto table : command_tables())
    for (const Command& command : table)
      for (const std::string& name : command_names(command))
        if (!command.hidden && name.find(' ') == name.npos &&
            std::find(std::begin(kCommon), std::end(kCommon), name) == std::end(kCommon))
          other.push_back({name, command.summary});
  for (const Group& group : command_groups()) management.push_back({group.name, group.summary});
  const std::span<const FlagSpec> tables[] = {global_flags()};
  std::string program = kProgram;
  return "Usage:  " + program + " [OPTIONS] COMMAND\n\nA self-sufficient runtime for containers\n\nCommon Commands:\n" +
         lines_text(common, false) + "\nManagement Commands:\n" + lines_text(management, true) + "\nCommands:\n" +
         lines_text(other, true) + "\nGlobal Options:\n" + flags_help(tables, columns - 1, false) + "\nRun '" +
         program + " COMMAND --help' for more information on a command.\n";
}

std::string group_help(const Group& group) {
  std::string prefix = std::string(group.name) + " ", path = std::string(kProgram) + " " + group.name;
  std::vector<Line> lines;
  for (auto table : command_tables())
    for (const Command& command : table) {
      std::string canonical = command_names(command).front();
      if (command.hidden) continue;
      if (canonical.starts_with(prefix)) lines.push_back({canonical.substr(prefix.size()), command.summary});
    }
  return "Usage:  " + path + " COMMAND\n\n" + group.summary + "\n\nCommands:\n" + lines_text(lines, true) + "\nRun '" +
         path + " COMMAND --help' for more information on a command.\n";
}

std::string command_help(const Command& command, const std::string& path, size_t columns) {
  std::string out = "Usage:  " + path + (*command.usage ? " " : "") + command.usage + "\n\n" +
                    (command.details ? command.details : command.summary) + "\n";
  std::vector<std::string> names = command_names(command);
  if (names.size() > 1) {
    for (std::string& name : names) name = std::string(kProgram) + " " + name;
    out += "\nAliases:\n  " + join(names, ", ") + "\n";
  }
  const std::span<const FlagSpec> tables[] = {command.flags, command.more_flags};
  // A command that takes -h for itself shows where its help went.
  bool own_h = false;
  for (auto table : tables)
    for (const FlagSpec& spec : table) own_h = own_h || spec.shorthand == 'h';
  std::string flags = flags_help(tables, columns - 1, own_h);
  if (!flags.empty()) out += "\nOptions:\n" + flags;
  return out;
}

}  // namespace caisson::cli
