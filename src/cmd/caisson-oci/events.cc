// SPDX-License-Identifier: Apache-2.0
// `events`: counters at intervals, and word of it when the container ran out of memory.
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "sys/cgroup_oom.h"

#include "commands.h"
#include "record.h"
#include "resources.h"
#include "stats.h"

namespace caisson::oci {

namespace {

using enum Flag::Kind;

constexpr Flag kFlags[] = {{"interval", 0, kValue, "time between two reports of the counters (default: 5s)"},
                           {"stats", 0, kSwitch, "display the container's counters, then exit"}};
constexpr Usage kUsage{"events",
                       "<container-id>",
                       "display container events: out of memory, and CPU, memory and I/O counters",
                       "One JSON object per line, until the container ends.",
                       kFlags,
                       1,
                       1};

void print(const std::string& line) {
  puts(line.c_str());
  fflush(stdout);
}

Result<int> follow(const Record& record, UniqueFd process, int64_t interval_ns) {
  std::optional<sys::OomWatch> oom;
  if (auto watch = sys::watch_oom(record.cgroup))
    oom = std::move(*watch);
  else
    log_debug("%s, ignoring", watch.error().message.c_str());
  int64_t next = monotonic_ns() + interval_ns;
  for (;;) {
    pollfd fds[] = {{process.get(), POLLIN, 0}, {oom ? oom->fd() : -1, POLLIN, 0}};
    int64_t wait_ms = std::clamp<int64_t>((next - monotonic_ns() + 999999) / 1000000, 0, 3600000);
    if (poll(fds, 2, static_cast<int>(wait_ms)) < 0 && errno != EINTR) return fail_errno("poll");
    if (fds[1].revents) {
      auto event = TRY(oom->take());
      if (event.ooms) print(oom_event(record.id));
      if (event.ended) oom.reset();
    }
    if (fds[0].revents) return 0;
    if (monotonic_ns() < next) continue;
    next += interval_ns;
    if (auto line = stats_event(record.id, record.cgroup))
      print(*line);
    else
      log_debug("%s, ignoring", line.error().message.c_str());
  }
}

Result<int> events(const Options& options, const Parsed& flags) {
  auto interval = parse_duration(flags.value("interval", "5s"));
  if (!interval || *interval <= 0) return fail(ErrorKind::kInvalid, "duration interval must be greater than 0");
  auto record = TRY(load_record(options.root, flags.arguments[0]));
  auto process = open_process(record);
  if (!process) return fail(ErrorKind::kConflict, "container with id %s is not running", record.id.c_str());
  if (record.cgroup.empty()) return fail(ErrorKind::kUnsupported, "a container without a cgroup has no counters");
  if (!flags.on("stats")) return follow(record, std::move(*process), *interval);
  print(TRY(stats_event(record.id, record.cgroup)));
  return 0;
}

}  // namespace

constinit const Command kEventsCommand{&kUsage, events};

}  // namespace caisson::oci
