// SPDX-License-Identifier: Apache-2.0
// The command tree: constant tables of commands, look-up of the one that a command line names, help
// texts. Each family of commands is one file that exports its table.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/app.h"
#include "cli/flags.h"

namespace caisson::cli {

struct Invocation {
  std::string path;  // as shown in usage lines: "caisson container ls", "caisson ps"
  ParsedFlags flags;
  std::vector<std::string> args;
};

// The exit code, or an error that is printed and gives exit code 1.
using CommandFunction = Result<int> (*)(App&, const Invocation&);

enum class Section : uint8_t { kCommon, kManagement, kOther };

struct Command {
  // Space-separated paths joined by ';', the canonical one first: "container ls;container list;ps".
  const char* names;
  const char* usage;    // behind the path: "[OPTIONS] IMAGE [COMMAND] [ARG...]"
  const char* summary;  // one line; also the first part of the help
  std::span<const FlagSpec> flags = {};
  std::span<const FlagSpec> more_flags = {};
  int min_args = 0;
  int max_args = 0;  // -1: any number
  bool interspersed = true;
  // Errors are printed as "caisson: ERROR" with a hint at --help, and the exit code is 125.
  bool run_style = false;
  CommandFunction function = nullptr;
  const char* details = nullptr;  // replaces the summary in the help
  bool hidden = false;            // stands in no list
};

struct Group {
  const char* name;
  const char* summary;
};

std::span<const Group> command_groups();
// Every table, in the order of the families' files.
std::span<const std::span<const Command>> command_tables();

// By one of its names, "" being none of them; null when there is none.
const Command* find_command(std::string_view name);

// Runs the program: global flags, look-up, flags, arguments, the command; the process's exit code.
int run_program(App& app, const std::vector<std::string>& args);

// Help texts (help.cc).
std::string top_help(size_t columns);
std::string group_help(const Group& group);
std::string command_help(const Command& command, const std::string& path, size_t columns);
std::span<const FlagSpec> global_flags();

// All names of a command; the ones of one word are top-level commands.
std::vector<std::string> command_names(const Command& command);

// Tables of the families.
std::span<const Command> run_commands();
std::span<const Command> list_commands();
std::span<const Command> lifecycle_commands();
std::span<const Command> stream_commands();
std::span<const Command> exec_commands();
std::span<const Command> file_commands();
std::span<const Command> stats_commands();
std::span<const Command> update_commands();
std::span<const Command> prune_commands();
std::span<const Command> image_host_commands();
std::span<const Command> image_layer_commands();
std::span<const Command> manifest_commands();
std::span<const Command> artifact_commands();
std::span<const Command> auto_update_commands();
std::span<const Command> network_commands();
std::span<const Command> volume_commands();
std::span<const Command> secret_commands();
std::span<const Command> clone_commands();
std::span<const Command> commit_commands();
std::span<const Command> inspect_commands();
std::span<const Command> image_commands();
std::span<const Command> transfer_commands();
std::span<const Command> registry_commands();
std::span<const Command> system_commands();
std::span<const Command> store_commands();
std::span<const Command> context_commands();
std::span<const Command> events_commands();
std::span<const Command> disk_usage_commands();
std::span<const Command> dial_commands();
std::span<const Command> completion_commands();

}  // namespace caisson::cli
