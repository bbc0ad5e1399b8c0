// SPDX-License-Identifier: Apache-2.0
#include "engine/create_defaults.h"

#include <algorithm>

#include "base/text.h"

namespace caisson::engine {

void apply_engine_defaults(spec::HostConfig& host, const EngineOptions& options, const LiveOptions& live) {
  if (host.shm_size == 0) host.shm_size = live.default_shm_size;
  if (host.ipc_mode.empty()) host.ipc_mode = options.default_ipc_mode;
  // A privileged container on cgroup v1 has a rule of its own.
  if (host.cgroupns_mode.empty() && !host.privileged) host.cgroupns_mode = options.default_cgroupns_mode;
  if (host.runtime.empty()) host.runtime = live.default_runtime;
  if (!host.init && options.default_init) host.init = true;
  for (const auto& [name, limit] : options.default_ulimits) {
    bool own = std::any_of(host.ulimits.begin(), host.ulimits.end(),
                           [&](const spec::Ulimit& given) { return equals_ignore_case(given.name, name); });
    if (!own) host.ulimits.push_back({.name = name, .soft = limit.soft, .hard = limit.hard});
  }
  bool says = std::any_of(host.security_opt.begin(), host.security_opt.end(),
                          [](const std::string& option) { return option.starts_with("no-new-privileges"); });
  if (options.no_new_privileges && !says) host.security_opt.push_back("no-new-privileges");
}

}  // namespace caisson::engine
