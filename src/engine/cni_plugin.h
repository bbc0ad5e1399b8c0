// SPDX-License-Identifier: Apache-2.0
// Running one CNI plugin: finding its program, its environment, its time limit, and what it said.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace caisson::engine {

struct CniCall {
  std::string command;                               // ADD, DEL, CHECK, GC, STATUS
  std::string container_id, netns, interface, args;  // empty: not told
  std::string input;
};

struct CniRunner {
  std::vector<std::string> directories;  // where programs are looked for, in order
  int64_t timeout_ms = 60000;
  size_t max_output = 1 << 20;
  int stop = -1;  // once it is readable, no plugin is started and those at work are ended; -1: never

  // The plugin's stdout. Blocks for as long as the plugin takes. kNotFound: no such program; kTimeout: it was ended
  // with its process group; kCancelled: likewise, or never started, as the engine stops; kInternal with the plugin's
  // own sentence.
  Result<std::string> run(const std::string& type, const CniCall& call) const;
  Result<std::string> find(const std::string& type) const;
};

}  // namespace caisson::engine
