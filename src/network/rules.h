// SPDX-License-Identifier: Apache-2.0
// The engine's nftables table: the fixed chains, and one map element per published port. Every call is
// one atomic batch over its own socket, so calls from several threads do not meet.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "network/ipv4.h"
#include "network/ports.h"

namespace caisson::network {

class Rules {
 public:
  Rules(std::string table, std::string bridge) : table_(std::move(table)), bridge_(std::move(bridge)) {}

  Result<bool> exists() const;
  // Makes the table or rewrites its rules; elements stay. Safe to repeat at any time.
  Result<> install(const Subnet& subnet) const;
  // kNotFound when somebody removed the table.
  Result<> publish(const std::vector<PublishedPort>& ports) const;
  void unpublish(const std::vector<PublishedPort>& ports) const;
  // Removes every element that is not one of `wanted`.
  Result<> retain(const std::vector<PublishedPort>& wanted) const;
  Result<> remove() const;  // absent is success

 private:
  std::string table_, bridge_;
};

}  // namespace caisson::network
