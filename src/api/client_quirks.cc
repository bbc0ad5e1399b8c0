// SPDX-License-Identifier: Apache-2.0
#include "api/client_quirks.h"

#include <time.h>

#include <algorithm>

#include "sys/unix_socket.h"

namespace caisson::api {

// DOCKER-QUIRK: containers.run() of the Python SDK returns the output only of containers whose driver is called
// json-file or journald. Where the engine's driver is one that Docker does not take unasked, the SDK's containers
// get json-file, with the bounds that the engine's own driver has.
void choose_log_driver(std::string_view user_agent, const std::string& engine_driver,
                       const std::map<std::string, std::string>& engine_options, spec::HostConfig& host) {
  auto& log = host.log_config;
  if (!log.type.empty() || engine_driver != "local" || !user_agent.starts_with("docker-sdk-python/")) return;
  log.type = "json-file";
  for (const auto* key : {"max-size", "max-file"})
    if (auto found = engine_options.find(key); found != engine_options.end())
      log.config.try_emplace(key, found->second);
  log.config.try_emplace("max-size", "20m");
  log.config.try_emplace("max-file", "5");
}

// DOCKER-QUIRK: Compose 1 recreates containers with the help of "ContainerConfig", which went with 1.45, and asks for
// the newest version all the same. It reads no more of it than "Volumes".
int image_inspect_version(std::string_view user_agent, int version) {
  return user_agent.starts_with("docker-compose/1.") ? std::min(version, 44) : version;
}

// The Python SDK reads an answer's head through a buffer and the stream behind it past that buffer: what arrives in
// one piece with the head is lost to it. So the stream begins when the head has been read.
void await_peer_has_read(int fd) {
  constexpr long kFirstWaitNs = 10'000, kLongestWaitNs = 1'000'000, kPatienceNs = 60'000'000;
  long waited = 0;
  for (long wait = kFirstWaitNs; waited < kPatienceNs && sys::peer_has_unread_bytes(fd); waited += wait) {
    if (waited > 0 && wait < kLongestWaitNs) wait *= 2;
    timespec pause{0, wait};
    nanosleep(&pause, nullptr);
  }
}

}  // namespace caisson::api
