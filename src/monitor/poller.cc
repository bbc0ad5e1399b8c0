// SPDX-License-Identifier: Apache-2.0
#include "monitor/poller.h"

#include <sys/epoll.h>

namespace caisson::monitor {

Result<> Poller::init() {
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return fail_errno("epoll_create1");
  return {};
}

Result<> Poller::add(Watch& watch, int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &watch;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0) return fail_errno("epoll_ctl");
  watch.fd_ = fd;
  watch.events_ = events;
  return {};
}

void Poller::change(Watch& watch, uint32_t events) {
  if (watch.fd_ < 0 || watch.events_ == events) return;
  epoll_event event{};
  event.events = events;
  event.data.ptr = &watch;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, watch.fd_, &event) == 0) watch.events_ = events;
}

void Poller::remove(Watch& watch) {
  if (watch.fd_ < 0) return;
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, watch.fd_, nullptr);
  watch.fd_ = -1;
}

[[gnu::hot]] bool Poller::step(int timeout_ms) {
  epoll_event event{};
  int ready = epoll_wait(epoll_.get(), &event, 1, timeout_ms);
  if (ready <= 0) return ready < 0;  // EINTR counts as an event: the caller looks at its clocks again
  static_cast<Watch*>(event.data.ptr)->on_ready(event.events);
  return true;
}

}  // namespace caisson::monitor
