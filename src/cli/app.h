// SPDX-License-Identifier: Apache-2.0
// What every command gets: the global options, the two outputs and the engine's door. Made once in main.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/engine.h"
#include "cli/output.h"

namespace caisson::cli {

inline constexpr const char* kProgram = "caisson";
inline constexpr const char* kVersion = "0.1.0";
inline constexpr const char* kApiVersion = "1.51";

struct App {
  GlobalOptions options;
  Output out{1};
  Output err{2};
  std::unique_ptr<Engine> engine_;

  explicit App(std::vector<std::string> environment_) : environment(std::move(environment_)) {}
  std::vector<std::string> environment;  // "K=V"
  std::optional<std::string> env(std::string_view name) const;
  Engine& engine();
  // "text" and a line break to standard error, after what standard output holds back.
  void complain(std::string_view text);
};

}  // namespace caisson::cli
