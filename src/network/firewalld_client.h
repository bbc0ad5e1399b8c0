// SPDX-License-Identifier: Apache-2.0
// The engine's side of caisson-firewalld, the program that keeps bridges in a zone of firewalld's: starting it where
// there is a system bus, telling it which bridges there are, replacing one that dies.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"

namespace caisson::network {

class FirewalldClient {
 public:
  static Result<std::unique_ptr<FirewalldClient>> create(std::string program);
  // The program carries out what it was told, then ends; one that hangs is killed.
  virtual ~FirewalldClient() = default;

  // Both return at once, whatever state the bus is in, and may be repeated.
  virtual void add(const std::string& bridge) = 0;
  virtual void remove(const std::string& bridge) = 0;
};

}  // namespace caisson::network
