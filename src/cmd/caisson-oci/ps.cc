// SPDX-License-Identifier: Apache-2.0
// `ps`: the processes of a container as the host's ps shows them.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/text.h"
#include "sys/cgroup.h"
#include "sys/files.h"
#include "sys/process.h"

#include "commands.h"
#include "ps_table.h"
#include "record.h"

namespace caisson::oci {

namespace {

using enum Flag::Kind;

constexpr Flag kFlags[] = {{"format", 'f', kValue, "'table' (default) or 'json'"}};
constexpr Usage kUsage{"ps",
                       "<container-id> [ps options]",
                       "display the processes running inside a container",
                       "The options are the host's ps's, -ef without any; the column PID must be among what it prints.",
                       kFlags,
                       1,
                       SIZE_MAX,
                       true};

Result<std::string> find_program(const char* name) {
  const char* path = getenv("PATH");
  for (const auto& directory : split(path ? path : "/usr/bin:/bin", ':')) {
    std::string candidate = directory + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return fail(ErrorKind::kNotFound, "exec: \"%s\": executable file not found in $PATH", name);
}

Result<std::string> output_of_ps(const std::vector<std::string>& options) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return fail_errno("pipe");
  UniqueFd reader(ends[0]), writer(ends[1]);
  sys::SpawnRequest request;
  request.program = TRY(find_program("ps"));
  request.args = {"ps"};
  request.args.insert(request.args.end(), options.begin(), options.end());
  for (char** entry = environ; *entry; ++entry) request.env.push_back(*entry);
  request.fds = {{writer.get(), 1}, {2, 2}};
  auto child = TRY(sys::spawn(request));
  writer.reset();
  auto text = sys::read_fd(reader.get());
  int code = TRY(sys::wait_child(child));
  if (text && code != 0) return fail(ErrorKind::kInternal, "ps: exit status %d", code);
  return text;
}

Result<int> ps(const Options& options, const Parsed& flags) {
  std::string format = flags.value("format", "table");
  if (format != "table" && format != "json") return fail(ErrorKind::kInvalid, "invalid format option");
  auto record = TRY(load_record(options.root, flags.arguments[0]));
  std::vector<pid_t> pids;
  if (!record.cgroup.empty()) {
    // Gone with the last process, if somebody else cleaned up.
    if (auto found = sys::cgroup_pids(record.cgroup))
      pids = std::move(*found);
    else if (is_alive(record))
      return std::unexpected(std::move(found).error());
  } else if (is_alive(record)) {
    pids = {static_cast<pid_t>(record.pid)};
  }
  std::sort(pids.begin(), pids.end());
  if (format == "json") {
    std::vector<std::string> numbers;
    for (pid_t pid : pids) numbers.push_back(std::to_string(pid));
    printf("[%s]\n", join(numbers, ",").c_str());
    return 0;
  }
  std::vector<std::string> wanted(flags.arguments.begin() + 1, flags.arguments.end());
  if (wanted.empty()) wanted = {"-ef"};
  fputs(TRY(rows_of_pids(TRY(output_of_ps(wanted)), pids)).c_str(), stdout);
  return 0;
}

}  // namespace

constinit const Command kPsCommand{&kUsage, ps};

}  // namespace caisson::oci
