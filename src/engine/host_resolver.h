// SPDX-License-Identifier: Apache-2.0
// The host's name servers, told to the embedded name server: at the start and whenever /etc/resolv.conf
// changes, or the file that it is a link to.
#pragma once

#include <optional>

#include "engine/executor.h"
#include "network/dns_client.h"
#include "sys/event_loop.h"
#include "sys/file_watch.h"

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

  network::DnsClient& names_;
  sys::EventLoop& loop_;
  Executor& executor_;
  std::optional<sys::FileWatch> watch_;
};

}  // namespace caisson::engine
