// SPDX-License-Identifier: Apache-2.0
// `logs --follow`: one thread for all followers, woken by inotify and by the container's end. A client
// that reads slowly is waited for by its own stream alone.
#pragma once

#include <memory>

#include "engine/container.h"
#include "logs/container_log.h"
#include "wire/http_server.h"

namespace caisson::api {

// How entries become bytes of the answer.
struct LogShape {
  bool framed = true;  // 8-byte frames; raw with a tty
  bool timestamps = false;
  bool details = false;  // before the text, as Docker: "key=value,key=value text"
  void render(const logs::LogEntry& entry, std::string& out) const;
};

class LogFollower {
 public:
  LogFollower();
  ~LogFollower();
  // Sends what is there, then what comes, until the container has ended (a restart is an end, as in Docker)
  // or the clock shows `until_ns` (0: never), and all is sent. The stream is ended by us.
  Result<> follow(std::shared_ptr<http::Stream> stream, std::unique_ptr<logs::LogReader> reader,
                  const std::string& log_path, LogShape shape, const engine::ContainerPtr& container, int64_t until_ns);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace caisson::api
