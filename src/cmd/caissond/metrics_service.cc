// SPDX-License-Identifier: Apache-2.0
#include "cmd/caissond/metrics_service.h"

#include "api/metrics.h"
#include "base/log.h"

namespace caisson {

Result<std::unique_ptr<MetricsService>> MetricsService::start(engine::Engine& engine, const std::string& address) {
  auto service = std::make_unique<MetricsService>();
  http::ServerLimits limits;
  limits.max_body_bytes = 0;
  limits.max_workers = 2;
  limits.max_connections = 64;
  service->server_ = TRY(http::Server::create(api::make_metrics_router(engine), limits));
  TRY(service->server_->add_listener(TRY_CTX(http::listen_tcp(address), "metrics-addr")));
  log_info("metrics: serving on %s", address.c_str());
  service->thread_ = std::thread([server = service->server_.get()] { server->run(); });
  return service;
}

MetricsService::~MetricsService() {
  if (!thread_.joinable()) return;
  server_->stop();
  thread_.join();
}

}  // namespace caisson
