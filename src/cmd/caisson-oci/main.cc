// SPDX-License-Identifier: Apache-2.0
// caisson-oci: the OCI runtime command line. Global flags, the choice of the command, where errors go.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/log.h"
#include "base/text.h"
#include "commands.h"
#include "setup.h"
#include "spec/oci_runtime.h"
#include "sys/files.h"
#include "sys/read_only_program.h"

namespace caisson::oci {

namespace {

using enum Flag::Kind;

constexpr Flag kGlobalFlags[] = {
    {"debug", 0, kSwitch, "enable debug logging"},
    {"log", 0, kValue, "file that errors are written to, besides stderr"},
    {"log-format", 0, kValue, "format of the log file: 'text' (default) or 'json'"},
    {"root", 0, kValue,
     "directory for the state of containers, should be in a tmpfs (default: \"/run/caisson-oci\", for ordinary users "
     "\"$XDG_RUNTIME_DIR/caisson-oci\")"},
    {"criu", 0, kValue, "the criu program used for checkpoint and restore (default: \"criu\")"},
    {"systemd-cgroup", 0, kSwitch, "let systemd make cgroups; cgroupsPath is \"slice:prefix:name\" then"},
    {"cgroup-manager", 0, kValue, "'cgroupfs' (default), 'systemd' or 'disabled'"},
    {"rootless", 0, kValue, "leave out what ordinary users may not do: 'true', 'false' or 'auto' (default)"},
    {"version", 'v', kSwitch, "print the version"},
};
constexpr Usage kGlobalUsage{"", "", "", "", kGlobalFlags, 0, SIZE_MAX, true};

constexpr const Command* kCommands[] = {
    &kCheckpointCommand, &kCreateCommand, &kDeleteCommand, &kEventsCommand, &kExecCommand,    &kFeaturesCommand,
    &kKillCommand,       &kListCommand,   &kPauseCommand,  &kPsCommand,     &kRestoreCommand, &kResumeCommand,
    &kRunCommand,        &kSpecCommand,   &kStartCommand,  &kStateCommand,  &kUpdateCommand};

std::string program_help() {
  std::string out =
      "NAME:\n   caisson-oci - OCI container runtime\n\nUSAGE:\n   caisson-oci [global options] command [command "
      "options] "
      "[arguments...]\n\nCOMMANDS:\n";
  for (const auto* command : kCommands) out += format("   %-11s %s\n", command->usage->name, command->usage->summary);
  return out + "   help, h     show this list, or the help of one command\n\nGLOBAL OPTIONS:\n" +
         flag_lines(kGlobalFlags) + "   --help, -h              show help\n";
}

const Command* find_command(std::string_view name) {
  for (const auto* command : kCommands)
    if (name == command->usage->name) return command;
  return nullptr;
}

Result<> read_global_flags(const Parsed& flags, Options& options) {
  options.debug = flags.on("debug");
  std::string log_format = flags.value("log-format", "text");
  if (log_format != "text" && log_format != "json")
    return fail(ErrorKind::kInvalid, "invalid log-format: %s", log_format.c_str());
  options.log_json = log_format == "json";
  if (const std::string* log = flags.find("log"); log && !log->empty())
    options.log = TRY_CTX(sys::open_file(*log, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY, 0644), "log file");
  options.criu = flags.value("criu", "criu");
  options.systemd_cgroup = flags.on("systemd-cgroup");
  std::string manager = flags.value("cgroup-manager");
  if (manager == "systemd")
    options.systemd_cgroup = true;
  else if (manager == "disabled")
    options.no_cgroup = true;
  else if (manager == "cgroupfs")
    options.systemd_cgroup = false;
  else if (!manager.empty())
    return fail(ErrorKind::kInvalid, "unknown cgroup manager %s", quoted(manager).c_str());
  std::string rootless = flags.value("rootless", "auto");
  if (rootless == "true")
    options.rootless = true;
  else if (rootless == "false")
    options.rootless = false;
  else if (rootless != "auto")
    return fail(ErrorKind::kInvalid, "--rootless is 'true', 'false' or 'auto', not %s", quoted(rootless).c_str());
  options.root = flags.value("root");
  if (options.root.empty()) options.root = default_root();
  // Hooks and the process in between have directories of their own.
  if (options.root[0] != '/') options.root = TRY(absolute_path(options.root));
  return {};
}

int print_version() {
  printf("caisson-oci version 0.1.0\nspec: %s\n", spec::OciState{}.oci_version.c_str());
  return 0;
}

// What is wrong, the command's help, and the exit status runc has for it.
int misuse(const Options& options, const Usage& usage, const std::string& what, const std::string& message) {
  printf("Incorrect Usage%s%s\n\n%s", what.empty() ? "." : ": ", what.c_str(), help_text(usage).c_str());
  fflush(stdout);
  report(options, "error", message);
  return 1;
}

int run_one(const Options& options, const Command& command, std::span<const std::string> args) {
  const Usage& usage = *command.usage;
  auto flags = parse_flags(usage, args);
  if (!flags) return misuse(options, usage, flags.error().message, flags.error().message);
  if (flags->help) {
    fputs(help_text(usage).c_str(), stdout);
    return 0;
  }
  if (flags->arguments.size() < usage.least || flags->arguments.size() > usage.most) {
    const char* bound = usage.least == usage.most               ? "exactly"
                        : flags->arguments.size() < usage.least ? "a minimum of"
                                                                : "a maximum of";
    size_t count = flags->arguments.size() < usage.least ? usage.least : usage.most;
    return misuse(options, usage, "", format("\"%s\" requires %s %zu argument(s)", usage.name, bound, count));
  }
  auto done = command.run(options, *flags);
  if (done && (fflush(stdout) != 0 || ferror(stdout))) done = fail_errno("write to the standard output");
  if (done) return *done;
  report(options, "error", done.error().message);
  return command.failure;
}

int run_program(std::span<const std::string> args) {
  Options options;
  auto flags = parse_flags(kGlobalUsage, args);
  auto global = flags ? read_global_flags(*flags, options) : Result<>(std::unexpected(flags.error()));
  if (!global) {
    report(options, "error", global.error().message);
    return 1;
  }
  if (flags->on("version")) return print_version();
  if (options.debug) set_log_level(LogLevel::kDebug);
  auto& rest = flags->arguments;
  bool help = flags->help || rest.empty();
  if (!help && (rest[0] == "help" || rest[0] == "h")) {
    rest.erase(rest.begin());
    help = true;
  }
  if (help && rest.empty()) {
    fputs(program_help().c_str(), stdout);
    return 0;
  }
  const Command* command = find_command(rest[0]);
  if (!command) {
    report(options, "error", format("No help topic for '%s'", rest[0].c_str()));
    return 3;
  }
  if (help) {
    fputs(help_text(*command->usage).c_str(), stdout);
    return 0;
  }
  return run_one(options, *command, std::span(rest).subspan(1));
}

}  // namespace

}  // namespace caisson::oci

int main(int argc, char** argv) {
  caisson::sys::reexec_from_read_only_file(argv, "caisson-oci");
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // a write past our caller's limit of file sizes is an error, not our end
  signal(SIGCHLD, SIG_DFL);  // where our caller ignores it, children would leave no exit code
  std::vector<std::string> args(argv + 1, argv + argc);
  return caisson::oci::run_program(args);
}
