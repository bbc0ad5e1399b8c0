// SPDX-License-Identifier: Apache-2.0
// What the engine and caisson-gate say to each other over a SEQPACKET socket: the engine "hello", the program which
// queue it serves. An engine that finds a program of another version ends it.
#pragma once

#include <cstdint>
#include <string>

#include "wire/json.h"

namespace caisson::gate {

inline constexpr int kControlVersion = 1;
inline constexpr int kControlFd = 3;  // the engine's connection in a program it has just started
inline constexpr size_t kMaxControlMessage = 4096;

struct ControlRequest {
  std::string type;
};
CAISSON_JSON(ControlRequest, CAISSON_FIELD("type", type))

struct ControlAnswer {
  bool ok = false;
  std::string error;  // a sentence
  int version = 0;
  uint16_t queue = 0;
};
CAISSON_JSON(ControlAnswer, CAISSON_FIELD("ok", ok), CAISSON_FIELD_OMIT("error", error),
             CAISSON_FIELD_OMIT("version", version), CAISSON_FIELD_OMIT("queue", queue))

}  // namespace caisson::gate
