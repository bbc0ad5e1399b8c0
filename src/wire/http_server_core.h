// SPDX-License-Identifier: Apache-2.0
// What the connections of one server share. Internal to http_server*.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>

#include "sys/event_loop.h"
#include "wire/http_server.h"
#include "wire/http_server_pool.h"

namespace caisson::http {

class Connection;

struct ServerCore {
  ServerCore(Router route, const ServerLimits& limit)
      : router(std::move(route)), limits(limit), pool(limit.max_workers) {}

  const Router router;
  const ServerLimits limits;
  std::unique_ptr<sys::EventLoop> loop;
  WorkerPool pool;
  std::atomic<bool> down = false;  // the loop has ended for good

  // What is posted after the end would keep its connection, and that this object, alive for ever.
  void post(std::move_only_function<void()> task) {
    if (!down) loop->post(std::move(task));
  }

  // Loop thread only.
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections;
  std::unique_ptr<char[]> scratch = std::make_unique<char[]>(kScratchSize);
  std::function<void()> on_connection_gone;
  std::function<void()> start_sweep;  // some connection has a deadline now
  static constexpr size_t kScratchSize = 64 << 10;

  std::mutex mutex;  // guards what follows
  std::shared_ptr<const Headers> common_headers = std::make_shared<Headers>();
  std::set<int> taken;  // sockets that handlers own and stop() must wake
  bool stopped = false;
};

// How an answer's body is delimited.
struct AnswerFraming {
  enum Kind : uint8_t { kNoBody, kLength, kChunked, kToEnd } kind = kNoBody;
  uint64_t length = 0;
  bool keep_alive = true;
  int minor_version = 1;  // of the request
};
std::string answer_head(ServerCore& core, int status, const Headers& headers, const AnswerFraming& framing);
// {"message":"..."}
std::string error_body(std::string_view message);
bool status_has_body(int status);

}  // namespace caisson::http
