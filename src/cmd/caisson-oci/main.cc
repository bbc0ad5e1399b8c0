// SPDX-License-Identifier: Apache-2.0
// caisson-oci: the OCI runtime command line.
#include <signal.h>

#include <cstdio>
#include <cstring>

#include "commands.h"
#include "sys/read_only_program.h"

namespace {

constexpr const char* kUsage =
    "usage: caisson-oci [--root DIR] COMMAND\n"
    "  run [-b BUNDLE] [--pid-file FILE] ID      create and start a container, wait for its end\n"
    "  exec [-t] [-e K=V] [-u UID[:GID]] [--cwd DIR] [-p FILE] ID COMMAND...\n"
    "                                            a further process in a running container\n"
    "  state ID                                  the container's state as JSON\n"
    "  spec [-b BUNDLE]                          write a config.json to begin with\n";

struct Command {
  const char* name;
  caisson::Result<int> (*run)(const caisson::oci::Options&, const std::vector<std::string>&);
  int failure;  // exit status when the command itself fails
};

constexpr Command kCommands[] = {{"run", caisson::oci::run_command, 1},
                                 {"exec", caisson::oci::exec_command, 255},
                                 {"state", caisson::oci::state_command, 1},
                                 {"spec", caisson::oci::spec_command, 1}};

}  // namespace

int main(int argc, char** argv) {
  caisson::sys::reexec_from_read_only_mount(argv, "caisson-oci");
  signal(SIGPIPE, SIG_IGN);
  caisson::oci::Options options;
  std::vector<std::string> args(argv + 1, argv + argc);
  size_t at = 0;
  while (at < args.size()) {
    if (auto root = caisson::oci::take_option(args, at, "--root", nullptr)) options.root = *root;
    else break;
  }
  if (at < args.size() && (args[at] == "--help" || args[at] == "-h")) {
    fputs(kUsage, stdout);
    return 0;
  }
  if (at < args.size() && (args[at] == "--version" || args[at] == "-v")) {
    puts("caisson-oci version 0.1.0\nspec: 1.2.0");
    return 0;
  }
  for (const auto& command : kCommands) {
    if (at >= args.size() || args[at] != command.name) continue;
    auto done = command.run(options, {args.begin() + static_cast<std::ptrdiff_t>(at) + 1, args.end()});
    if (done) return *done;
    fprintf(stderr, "caisson-oci: %s\n", done.error().message.c_str());
    return command.failure;
  }
  fputs(kUsage, stderr);
  return 1;
}
