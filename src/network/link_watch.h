// SPDX-License-Identifier: Apache-2.0
// What the host does to links behind the engine's back: those that are deleted or lose an address. Of one thread.
#pragma once

#include <optional>
#include <set>

#include "base/result.h"
#include "sys/netlink.h"

namespace caisson::network {

class LinkWatch {
 public:
  static Result<LinkWatch> open();  // in the calling thread's network namespace
  int fd() const { return socket_.fd(); }
  // Indices of such links since the last call, without waiting; nullopt: some were missed.
  std::optional<std::set<int>> read();

 private:
  explicit LinkWatch(sys::NetlinkSocket socket) : socket_(std::move(socket)) {}
  sys::NetlinkSocket socket_;
};

}  // namespace caisson::network
