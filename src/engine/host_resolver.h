// SPDX-License-Identifier: Apache-2.0
// The host's name servers, told to the embedded name server: at the start and whenever /etc/resolv.conf changes.
#pragma once

#include <string>

#include "base/unique_fd.h"
#include "engine/executor.h"
#include "network/dns_client.h"
#include "sys/event_loop.h"

namespace caisson::engine {

class HostResolver {
 public:
  // The loop may end before this, not run after it.
  HostResolver(network::DnsClient& names, sys::EventLoop& loop, Executor& executor);
  HostResolver(const HostResolver&) = delete;
  HostResolver& operator=(const HostResolver&) = delete;

  // Begins to watch. Without inotify, changes are seen at the next start of the engine only; that is logged.
  void start();

 private:
  void tell();
  void on_change();

  network::DnsClient& names_;
  sys::EventLoop& loop_;
  Executor& executor_;
  UniqueFd inotify_;
};

}  // namespace caisson::engine
