// SPDX-License-Identifier: Apache-2.0
// One thread's epoll loop: descriptors, timers, and work posted from other threads. All callbacks run
// on the thread that called run(); only post(), modify() and stop() may be called from another one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"

namespace caisson::sys {

class EventLoop {
 public:
  using Callback = std::move_only_function<void(uint32_t events)>;
  using Task = std::move_only_function<void()>;

  static Result<std::unique_ptr<EventLoop>> create();
  ~EventLoop();

  // `events` are EPOLLIN, EPOLLOUT...; level-triggered. The fd stays the caller's; remove before close.
  Result<> add(int fd, uint32_t events, Callback callback);
  Result<> modify(int fd, uint32_t events);  // any thread, while the fd is known to be added
  void remove(int fd);                       // safe inside a callback, the fd's own included

  using TimerId = uint64_t;
  TimerId after_ms(int64_t delay_ms, Task task);
  void cancel(TimerId id);  // unknown ids are ignored

  void post(Task task);  // any thread
  void run();            // until stop()
  void stop();           // any thread

 private:
  EventLoop();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace caisson::sys
