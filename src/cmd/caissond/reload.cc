// SPDX-License-Identifier: Apache-2.0
#include "cmd/caissond/reload.h"

#include <sys/utsname.h>

#include "base/log.h"
#include "base/text.h"
#include "cmd/caissond/daemon_options.h"
#include "wire/json.h"

namespace caisson {

namespace {

// Docker's names and forms.
engine::Event reload_event(const engine::Engine& engine, const DaemonOptions& options) {
  utsname host{};
  uname(&host);
  engine::Event event;
  event.type = "daemon";
  event.action = "reload";
  event.id = engine.engine_id();
  const auto& fresh = options.engine;
  event.attributes = {
      {"name", host.nodename},
      {"debug", fresh.debug ? "true" : "false"},
      {"default-runtime", fresh.default_runtime},
      {"default-shm-size", std::to_string(fresh.default_shm_size)},
      {"insecure-registries", json::encode(fresh.insecure_registries)},
      {"labels", json::encode(fresh.labels)},
      {"live-restore", "true"},
      {"max-concurrent-downloads", std::to_string(fresh.transfers.downloads)},
      {"max-concurrent-uploads", std::to_string(fresh.transfers.uploads)},
      {"max-download-attempts", std::to_string(fresh.transfers.attempts)},
      {"registry-mirrors", json::encode(fresh.registry_mirrors)},
      {"runtimes", "caisson"},
      {"shutdown-timeout", std::to_string(options.request_timeout_s)},
  };
  return event;
}

}  // namespace

void reload_configuration(int argc, char** argv, engine::Engine& engine, int& request_timeout_s) {
  auto reload = reload_daemon_options(argc, argv);
  if (!reload)
    return log_error("configuration reload failed, the old configuration stays: %s", reload.error().message.c_str());
  const DaemonOptions& options = reload->options;
  engine.reload(options.engine);
  set_log_level(options.log_level);
  request_timeout_s = options.request_timeout_s;
  // A quiet level does not hide that somebody changed it.
  if (reload->ignored.empty())
    log_info("configuration reloaded");
  else
    log_warn("configuration reloaded, but for what only counts at a start: %s", join(reload->ignored, ", ").c_str());
  engine.events().publish(reload_event(engine, options));
}

}  // namespace caisson
