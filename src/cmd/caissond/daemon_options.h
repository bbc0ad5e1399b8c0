// SPDX-License-Identifier: Apache-2.0
// Flags of caissond and the keys of daemon.json that mean the same.
#pragma once

#include <string>

#include "base/log.h"
#include "base/result.h"
#include "engine/options.h"

namespace caisson {

struct DaemonOptions {
  engine::EngineOptions engine;
  std::string pidfile;
  std::string config_file;
  LogLevel log_level = LogLevel::kInfo;
  bool show_help = false, show_version = false;
};

// kInvalid names the flag or key. A key that is set in both places is an error, as in Docker.
Result<DaemonOptions> parse_daemon_options(int argc, char** argv);
std::string daemon_help();

}  // namespace caisson
