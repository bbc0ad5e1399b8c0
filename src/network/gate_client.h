// SPDX-License-Identifier: Apache-2.0
// The engine's side of caisson-gate, the program that sends on what the host's INPUT rules let pass to published ports
// (--firewall=honor): finding or starting it, and replacing one that dies.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"

namespace caisson::network {

struct GateOptions {
  std::string program;      // path of caisson-gate
  std::string socket_path;  // EXEC_ROOT/gate.sock: of this engine alone
  std::string table;        // the engine's
};

// How a rule hands packets to the program.
struct GateRule {
  uint16_t queue = 0;
  bool native = true;  // see sys::NftBatch::queue()
};

class GateClient {
 public:
  // The program of an earlier engine, or a new one. kUnsupported: the kernel has no queues for packets.
  static Result<std::unique_ptr<GateClient>> create(GateOptions options);
  // The program goes on; it ends by itself when nothing is published any more.
  virtual ~GateClient() = default;

  // For the whole life of this object, whatever happens to the program.
  virtual GateRule rule() const = 0;
};

// Ends the program of an earlier engine, if there is one.
void end_gate(const std::string& socket_path);

}  // namespace caisson::network
