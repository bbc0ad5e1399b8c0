// SPDX-License-Identifier: Apache-2.0
// The subcommands: each file has the usage table and the function of one command or a group of them.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "flags.h"
#include "runtime/container.h"

namespace caisson::oci {

// What is given before the command.
struct Options {
  std::string root;  // one directory per container below
  UniqueFd log;      // errors are written to it, too
  bool log_json = false;
  bool debug = false;
  bool systemd_cgroup = false;
  bool no_cgroup = false;        // --cgroup-manager disabled
  std::optional<bool> rootless;  // --rootless true|false; without: as the caller's rights are
  std::string criu = "criu";
};

struct Command {
  const Usage* usage;
  Result<int> (*run)(const Options& options, const Parsed& flags);  // the exit status of the program
  int failure = 1;                                                  // exit status when the command itself fails
};

extern const Command kCheckpointCommand, kCreateCommand, kDeleteCommand, kEventsCommand, kExecCommand, kFeaturesCommand,
    kKillCommand, kListCommand, kPauseCommand, kPsCommand, kRestoreCommand, kResumeCommand, kRunCommand, kSpecCommand,
    kStartCommand, kStateCommand, kUpdateCommand;

// Writes an error or a warning to stderr and into the log file as the options say.
void report(const Options& options, const char* level, const std::string& message);

// For the time from right before a start until stay_in_foreground: what comes then is passed on there, and
// does not end us while the container lives.
void hold_signals();
// Copies between our terminal and the container's, passes signals on, and returns the exit status. With
// `subreaper` orphans of the container that become ours are collected.
Result<int> stay_in_foreground(runtime::Started& started, bool subreaper = false);

}  // namespace caisson::oci
