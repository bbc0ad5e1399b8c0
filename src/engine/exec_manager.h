// SPDX-License-Identifier: Apache-2.0
// Exec instances: created by one request, started by another, asked about later. They live in memory:
// the process itself belongs to the container's monitor and survives the engine, the instance does not.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/container.h"
#include "engine/services.h"
#include "spec/docker_container.h"

namespace caisson::engine {

class ExecManager {
 public:
  explicit ExecManager(Services services);
  ~ExecManager();

  // kConflict with Docker's text when the container does not run or is paused.
  Result<std::string> create(const ContainerPtr& container, spec::ExecConfig config);
  // Starts it. `take_client` answers the request and gives the socket; absent when detached. Errors that
  // come before are returned; the exec is then finished with 126 or 127.
  Result<> start(const std::string& exec_id, const spec::ExecStartConfig& options,
                 std::optional<std::move_only_function<Result<monitor::Attachment>()>> take_client);
  Result<> resize(const std::string& exec_id, uint16_t rows, uint16_t columns);
  Result<spec::ExecInspect> inspect(const std::string& exec_id) const;
  Result<spec::ExecConfig> config_of(const std::string& exec_id) const;
  std::vector<std::string> ids_of(const std::string& container_id) const;

  // From lifecycle.
  void on_exec_exit(const std::string& container_id, const std::string& exec_id, int exit_code);
  void on_container_exit(const std::string& container_id);

 private:
  struct State;
  Services services_;
  std::unique_ptr<State> state_;
};

}  // namespace caisson::engine
