// SPDX-License-Identifier: Apache-2.0
// The registry server as a part of the engine program: its listener, its TLS, its passwords, and a loop and workers of
// its own, so that what the network does never delays the engine's API.
#pragma once

#include <memory>
#include <mutex>
#include <thread>

#include "api/registry_server.h"
#include "cmd/caissond/tls_front.h"
#include "engine/engine.h"

namespace caisson {

class RegistryService : public api::RegistryControl {
 public:
  static Result<std::unique_ptr<RegistryService>> open(engine::Engine& engine);
  ~RegistryService() override;
  Result<> serve(const api::RegistrySettings& settings) override;
  Result<> stop() override;
  bool settings(api::RegistrySettings& out) const override;
  image::RegistryStore& store() override { return *store_; }

 private:
  explicit RegistryService(engine::Engine& engine) : engine_(engine) {}
  // One time of serving. In the order of construction.
  struct Run {
    api::RegistrySettings settings;
    std::unique_ptr<http::Server> server;
    std::unique_ptr<TlsFront> tls;
    std::thread thread;
  };

  engine::Engine& engine_;
  std::unique_ptr<image::RegistryStore> store_;
  mutable std::mutex mutex_;  // guards run_
  std::unique_ptr<Run> run_;
};

}  // namespace caisson
