// SPDX-License-Identifier: Apache-2.0
// One exec of a running container inside the monitor: its process and its streams.
#pragma once

#include <string>

#include "monitor/poller.h"
#include "monitor/stdio_hub.h"
#include "sys/process.h"

namespace caisson::monitor {

class Monitor;

// Our ends for the hub, the process's ends for runtime::Stdio.
struct StdioPipes {
  HubFds ours;
  UniqueFd in, out, err;
};
Result<StdioPipes> make_pipes(bool in, bool out, bool err);

struct ExecSession : Watch {
  ExecSession(Monitor& owner, std::string name, Poller& poller, char* buffer)
      : monitor(owner), id(std::move(name)), hub(poller, buffer, {.close_stdin = true, .log = nullptr}) {}
  void on_ready(uint32_t events) override;

  Monitor& monitor;
  std::string id;
  sys::Child child;
  StdioHub hub;
  int exit_code = 0;
  bool kill_with_client = false;
  bool ended = false;  // waited for; its pipes may still hold data
  bool reported = false;
  int64_t drain_deadline = kNever;
};

}  // namespace caisson::monitor
