// SPDX-License-Identifier: Apache-2.0
// The engine's connection to the service: accepts it, reads requests, answers. The newest that says hello counts.
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "base/unique_fd.h"
#include "dns/service.h"
#include "sys/event_loop.h"

namespace caisson::dns {

class Control {
 public:
  // `listener` may be empty; `owner` is the user that may connect, besides root.
  Control(sys::EventLoop& loop, Service& service, UniqueFd listener, uid_t owner);
  ~Control();
  // `first`: a connection that is there already, or empty.
  Result<> start(UniqueFd first);

 private:
  void on_listener();
  void watch(UniqueFd& place, UniqueFd connection);
  void on_request(UniqueFd& from);
  void disconnect(UniqueFd& from);

  sys::EventLoop& loop_;
  Service& service_;
  UniqueFd listener_, engine_;
  UniqueFd candidate_;  // has not said hello yet
  uid_t owner_;
};

}  // namespace caisson::dns
