// SPDX-License-Identifier: Apache-2.0
#include "cli/autostart.h"

#include <sys/socket.h>

#include <algorithm>
#include <ctime>

#include "base/clock.h"
#include "base/text.h"
#include "cli/host.h"
#include "sys/files.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace caisson::cli {

static constexpr int64_t kStartTimeoutNs = 5'000'000'000;

static std::string last_line(const std::string& path) {
  auto text = sys::read_file(path, 1 << 20);
  if (!text) return {};
  std::string_view rest = trim(*text);
  size_t newline = rest.rfind('\n');
  return std::string(newline == rest.npos ? rest : rest.substr(newline + 1));
}

Result<> start_engine(const std::string& socket, bool name_host, const std::vector<std::string>& environment) {
  std::string program = TRY(sys::program_dir()) + "/caissond";
  if (!sys::path_exists(program))
    return fail(ErrorKind::kUnavailable,
                "Cannot connect to the Docker daemon at unix://%s. Is the docker daemon running?", socket.c_str());
  std::string directory = socket.substr(0, socket.rfind('/'));
  std::string log_path = directory + "/caissond.log";
  sys::SpawnRequest request;
  request.program = program;
  request.args = {program};
  request.env = environment;
  request.new_session = true;
  if (name_host) request.args.insert(request.args.end(), {"--host", "unix://" + socket});
  for (const std::string& arg : split(environment_value(environment, "CAISSON_AUTOSTART_ARGS"), ' '))
    if (!arg.empty()) request.args.push_back(arg);
  UniqueFd log;
  if (sys::make_dirs(directory)) {
    if (auto file = sys::open_file(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600)) log = std::move(*file);
  }
  if (log) request.fds = {{log.get(), 1}, {log.get(), 2}};
  sys::Child child = TRY_CTX(sys::spawn(request), "starting the engine");

  // The engine is ready when it accepts. The process ending early is no failure as long as somebody
  // listens: another client's engine may have won.
  int64_t deadline = monotonic_ns() + kStartTimeoutNs;
  bool ended = false;
  while (monotonic_ns() < deadline) {
    if (sys::connect_unix(socket, SOCK_STREAM)) return {};
    if (ended) {
      timespec pause{.tv_sec = 0, .tv_nsec = 20'000'000};
      nanosleep(&pause, nullptr);
    } else if (sys::wait_readable(child.pidfd.get(), 5)) {
      ended = true;  // one more second for the winner of a race, then it is a failure
      deadline = std::min(deadline, monotonic_ns() + 1'000'000'000);
    }
  }
  std::string reason = log ? last_line(log_path) : "";
  return fail(ErrorKind::kUnavailable, "the engine did not start (log: %s)%s%s", log_path.c_str(),
              reason.empty() ? "" : ": ", reason.c_str());
}

}  // namespace caisson::cli
