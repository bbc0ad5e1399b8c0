// SPDX-License-Identifier: Apache-2.0
// The engine program: flags, wiring, signals. The work is done in engine/ and api/.
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "api/log_follower.h"
#include "api/router.h"
#include "api/stats_streams.h"
#include "api/version.h"
#include "base/log.h"
#include "base/text.h"
#include "build/commit.h"
#include "cmd/caissond/access.h"
#include "cmd/caissond/daemon_options.h"
#include "cmd/caissond/listeners.h"
#include "cmd/caissond/metrics_service.h"
#include "cmd/caissond/registry_service.h"
#include "cmd/caissond/reload.h"
#include "engine/engine.h"
#include "sys/files.h"
#include "sys/service_manager.h"
#include "wire/http_server.h"

namespace caisson {

namespace {

constexpr std::chrono::milliseconds kStopLimit(1500);

void remove_traces(const std::vector<std::string>& sockets, const std::string& pidfile) {
  for (const auto& path : sockets)
    if (auto removed = sys::remove_file(path); !removed) log_warn("%s", removed.error().message.c_str());
  if (pidfile.empty()) return;
  if (auto removed = sys::remove_file(pidfile); !removed) log_warn("%s", removed.error().message.c_str());
}

// A handler may wait for a container for as long as its client wants; stopping may not. State is durable
// at every moment, so leaving in the middle is the same as a crash, which is fine.
void leave_in_time(std::vector<std::string> sockets, std::string pidfile, int timeout_s) {
  auto limit = timeout_s < 0 ? kStopLimit : std::chrono::milliseconds(timeout_s * 1000);
  std::thread([limit, sockets = std::move(sockets), pidfile = std::move(pidfile)] {
    std::this_thread::sleep_for(limit);
    log_info("requests are still being worked on; leaving them");
    remove_traces(sockets, pidfile);
    _exit(0);
  }).detach();
}

Result<> run(const DaemonOptions& options, int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGCHLD, SIG_DFL);  // where our caller ignores it, children would leave no exit code
  sigset_t handled;
  sigemptyset(&handled);
  for (int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&handled, number);
  // Before any thread exists, so that all of them inherit the mask.
  pthread_sigmask(SIG_BLOCK, &handled, nullptr);
  UniqueFd signals(signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) return fail_errno("signalfd");
  umask(0022);
  // The worker for registries goes by the environment; nobody else reads it yet.
  for (const auto& [name, value] : options.proxies)
    if (setenv(name.c_str(), value.c_str(), 1) < 0) return fail_errno("setenv '%s'", name.c_str());
  auto activated = TRY(sys::take_activation_sockets());
  // Threads come and go with the load; two arenas are enough and keep idle memory small.
  mallopt(M_ARENA_MAX, 2);

  std::unique_ptr<engine::Engine> engine;
  api::LogFollower follower;
  api::StatsStreams stats;
  struct Late {
    api::Context* context = nullptr;
    http::Router router;
  } late;
  // The server owns the loop that the engine's descriptors live on, so it comes first; no request can
  // arrive before run().
  auto server = TRY(http::Server::create([&late](const http::Request& head) { return late.router(head); }));
  engine = TRY(engine::Engine::open(options.engine, server->loop()));
  auto registry = TRY(RegistryService::open(*engine));
  api::Context context{*engine, follower, server->loop(), stats, registry.get()};
  late.router = guard_router(api::make_router(context));
  http::Headers headers;
  headers.add("Server", format("Caisson/%s (linux)", api::kEngineVersion));
  headers.add("Api-Version", format("1.%d", api::kMaxVersion));
  headers.add("Docker-Experimental", options.engine.experimental ? "true" : "false");
  headers.add("Ostype", "linux");
  server->set_common_headers(headers);

  for (const auto& notice : options.notices) log_warn("%s", notice.c_str());
  Listeners listeners = TRY(open_listeners(options, *server, std::move(activated)));
  const std::vector<std::string>& sockets = listeners.socket_files;
  if (!options.registry.listen.empty()) TRY(registry->serve(options.registry));
  std::unique_ptr<MetricsService> metrics;
  if (!options.metrics_address.empty()) metrics = TRY(MetricsService::start(*engine, options.metrics_address));
  int request_timeout_s = options.request_timeout_s;
  if (!options.pidfile.empty()) TRY(sys::replace_file(options.pidfile, format("%d\n", getpid())));
  TRY(server->loop().add(signals.get(), EPOLLIN, [&](uint32_t) {
    signalfd_siginfo info{};
    while (read(signals.get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo == SIGHUP) {
        reload_configuration(argc, argv, *engine, request_timeout_s);
        continue;
      }
      log_info("stopping; containers go on");
      if (auto told = sys::notify_service_manager("STOPPING=1"); !told)
        log_debug("%s, ignoring", told.error().message.c_str());
      engine->begin_stop();
      server->stop();
      leave_in_time(sockets, options.pidfile, request_timeout_s);
    }
  }));
  server->loop().after_ms(50, [&] {
    build::resume_after_commit(*engine);
    engine->warm_up();
    malloc_trim(0);
  });
  log_info("caisson engine %s, data in '%s'", api::kEngineVersion, options.engine.data_root.c_str());
  if (auto told = sys::notify_service_manager("READY=1"); !told) log_warn("%s, ignoring", told.error().message.c_str());
  server->run();
  remove_traces(sockets, options.pidfile);
  return {};
}

}  // namespace
}  // namespace caisson

int main(int argc, char** argv) {
  auto options = caisson::parse_daemon_options(argc, argv);
  if (!options) {
    fprintf(stderr, "caissond: %s\nRun 'caissond --help' for more information\n", options.error().message.c_str());
    return 125;
  }
  if (options->show_help) {
    fputs(caisson::daemon_help().c_str(), stdout);
    return 0;
  }
  if (options->validate) {
    fputs("configuration OK\n", stderr);
    return 0;
  }
  if (options->show_version) {
    printf("Caisson engine version %s\n", caisson::api::kEngineVersion);
    return 0;
  }
  caisson::set_log_level(options->log_level);
  caisson::set_log_json(options->log_json);
  auto done = options->cleanup_network ? caisson::engine::Engine::cleanup_network(options->engine)
                                       : caisson::run(*options, argc, argv);
  if (!done) {
    fprintf(stderr, "caissond: %s\n", done.error().message.c_str());
    return 1;
  }
  return 0;
}
