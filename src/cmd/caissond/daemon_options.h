// SPDX-License-Identifier: Apache-2.0
// Flags of caissond and the keys of daemon.json that mean the same.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "api/registry_server.h"
#include "base/log.h"
#include "base/result.h"
#include "engine/options.h"

namespace caisson {

struct TlsFlags {
  bool on = false, verify = false;
  std::string ca, certificate, key;  // files
};

struct DaemonOptions {
  engine::EngineOptions engine;
  std::string pidfile;
  std::string config_file;
  std::vector<std::string> read_only_hosts;
  std::optional<std::string> group;  // of unix sockets; none: `docker` if there is one
  TlsFlags tls;
  api::RegistrySettings registry;  // with an empty address: not served
  LogLevel log_level = LogLevel::kInfo;
  bool log_json = false;
  int request_timeout_s = -1;   // that requests under way have when the engine stops; -1: the default
  std::string metrics_address;  // empty: no such listener
  bool validate = false, cleanup_network = false, show_help = false, show_version = false;
  std::map<std::string, std::string> proxies;  // HTTP_PROXY, HTTPS_PROXY, NO_PROXY: instead of the environment's
  std::vector<std::string> notices;            // of what was accepted and does nothing; told at the start
};

// kInvalid names the flag or key. A key that is set in both places is an error, as in Docker.
Result<DaemonOptions> parse_daemon_options(int argc, char** argv);
std::string daemon_help();

// What SIGHUP may change, read anew: flags of the start, then the file. kInvalid: nothing is to change.
struct Reload {
  DaemonOptions options;
  std::vector<std::string> ignored;  // keys of the file that only count at a start
};
Result<Reload> reload_daemon_options(int argc, char** argv);

}  // namespace caisson
