// SPDX-License-Identifier: Apache-2.0
// caisson-systemd: asks systemd for units on behalf of programs that cannot link its library. One request
// per process; interface in sys/systemd_cgroup.h.
//   caisson-systemd [--user] start-unit [--hold] UNIT   properties on stdin; answers "cgroup=PATH". --hold:
//                                                       stays in the unit until stdin is closed
//   caisson-systemd [--user] set-properties UNIT        properties on stdin
//   caisson-systemd [--user] stop-unit UNIT
//   caisson-systemd [--user] attach-process UNIT PID
// The answer is one line on stdout; what went wrong one on stderr, with status 3 when a unit of that name
// is active, 4 when systemd cannot be reached, else 1 (2: wrong usage).
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "manager.h"

namespace caisson::systemd {

namespace {

struct Options {
  bool user = false, hold = false;
  std::string command, unit;
  uint32_t pid = 0;
};

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    std::string_view word = argv[i];
    if (word == "--user")
      options.user = true;
    else if (word == "--hold")
      options.hold = true;
    else if (options.command.empty())
      options.command = word;
    else if (options.unit.empty())
      options.unit = word;
    else if (auto pid = parse_uint(word); pid && *pid && *pid <= INT32_MAX && options.command == "attach-process")
      options.pid = static_cast<uint32_t>(*pid);
    else
      return false;
  }
  bool known = options.command == "start-unit" || options.command == "stop-unit" || options.command == "set-properties";
  if (options.command == "attach-process") return options.pid != 0 && !options.hold;
  return known && !options.unit.empty() && (!options.hold || options.command == "start-unit");
}

Result<std::string> answer(const Options& options) {
  std::vector<Property> properties;
  bool asks = options.command == "start-unit" || options.command == "set-properties";
  if (asks) properties = TRY(read_request(0));
  auto manager = TRY(Manager::connect(options.user));
  if (options.command == "stop-unit") {
    TRY(manager.stop(options.unit));
    return "ok";
  }
  if (options.command == "attach-process") {
    TRY(manager.attach(options.unit, options.pid));
    return "ok";
  }
  if (options.command == "set-properties") {
    TRY(manager.set_properties(options.unit, properties));
    return "ok";
  }
  if (options.hold) properties.push_back({"PIDs", 'u', true, {std::to_string(getpid())}});
  TRY(manager.start(options.unit, properties));
  auto group = manager.control_group(options.unit);
  if (!group) {
    (void)manager.stop(options.unit);
    return std::unexpected(std::move(group).error());
  }
  return "cgroup=" + *group;
}

int run(const Options& options) {
  auto line = answer(options);
  if (!line) {
    fprintf(stderr, "%s\n", line.error().message.c_str());
    return line.error().kind == ErrorKind::kExists ? 3 : line.error().kind == ErrorKind::kUnavailable ? 4 : 1;
  }
  printf("%s\n", line->c_str());
  if (fflush(stdout) != 0) return 1;
  if (!options.hold) return 0;
  close(1);  // the answer is complete
  char byte;
  while (read(0, &byte, 1) > 0 || errno == EINTR) errno = 0;
  return 0;
}

}  // namespace

}  // namespace caisson::systemd

int main(int argc, char** argv) {
  caisson::systemd::Options options;
  if (!caisson::systemd::parse(argc, argv, options)) {
    fprintf(stderr,
            "usage: caisson-systemd [--user] start-unit [--hold] | stop-unit | set-properties UNIT | attach-process "
            "UNIT PID\n");
    return 2;
  }
  return caisson::systemd::run(options);
}
