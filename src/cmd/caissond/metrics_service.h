// SPDX-License-Identifier: Apache-2.0
// --metrics-addr: a listener of its own that answers GET /metrics and nothing else, on a loop and with workers of its
// own.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "engine/engine.h"
#include "wire/http_server.h"

namespace caisson {

class MetricsService {
 public:
  static Result<std::unique_ptr<MetricsService>> start(engine::Engine& engine, const std::string& address);
  ~MetricsService();

 private:
  std::unique_ptr<http::Server> server_;
  std::thread thread_;
};

}  // namespace caisson
