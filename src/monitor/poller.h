// SPDX-License-Identifier: Apache-2.0
// The monitor's event loop: epoll with one callback object per descriptor and no memory of its own.
// Smaller than sys::EventLoop, which carries timers, posted tasks and type-erased callbacks.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::monitor {

class Watch {
 public:
  virtual void on_ready(uint32_t events) = 0;

 protected:
  ~Watch() = default;

 private:
  friend class Poller;
  int fd_ = -1;
  uint32_t events_ = 0;
};

class Poller {
 public:
  Result<> init();
  // `events` are EPOLLIN and EPOLLOUT, level-triggered; 0 still reports EPOLLHUP and EPOLLERR.
  Result<> add(Watch& watch, int fd, uint32_t events);
  void change(Watch& watch, uint32_t events);  // no call when nothing changes
  // Before the fd is closed. Unknown watches are ignored.
  void remove(Watch& watch);
  bool has(const Watch& watch) const { return watch.fd_ >= 0; }
  // Waits for one event and delivers it. One at a time, so that a callback may destroy any watch.
  // False after `timeout_ms` without any; -1 waits for ever.
  bool step(int timeout_ms);

 private:
  UniqueFd epoll_;
};

}  // namespace caisson::monitor
