// SPDX-License-Identifier: Apache-2.0
// The engine's nftables table: the fixed chains, and one map element per published port. Every change is
// one atomic batch. Thread-safe: no two calls use a socket at the same time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "network/ipv4.h"
#include "network/ports.h"
#include "sys/netlink.h"

namespace caisson::network {

class Rules {
 public:
  Rules(std::string table, std::string bridge);
  ~Rules();

  Result<bool> exists() const;
  // Makes the table or rewrites its rules; elements stay. Safe to repeat at any time.
  Result<> install(const Subnet& subnet) const;
  // `anew`: running UDP flows to the ports are cut off from where they went. ENOENT when somebody removed
  // the table.
  Result<> publish(const std::vector<PublishedPort>& ports, bool anew) const;
  void unpublish(const std::vector<PublishedPort>& ports) const;
  // Removes every element that is not one of `wanted`.
  Result<> retain(const std::vector<PublishedPort>& wanted) const;
  Result<> remove() const;  // absent is success

 private:
  struct Sockets;
  Result<> with_socket(const std::function<Result<>(sys::NetlinkSocket&)>& use) const;

  std::string table_, bridge_;
  std::unique_ptr<Sockets> sockets_;
};

}  // namespace caisson::network
