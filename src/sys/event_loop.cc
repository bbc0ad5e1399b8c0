// SPDX-License-Identifier: Apache-2.0
#include "sys/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"

namespace caisson::sys {

struct EventLoop::State {
  UniqueFd epoll, wake;
  // shared_ptr: a callback may remove itself (or be replaced by a new fd of the same number) while it runs.
  struct Entry {
    Callback callback;
    bool live = true;
  };
  std::unordered_map<int, std::shared_ptr<Entry>> entries;
  std::map<std::pair<int64_t, TimerId>, Task> timers;
  std::unordered_map<TimerId, int64_t> timer_due;
  TimerId next_timer = 1;
  std::mutex mutex;  // guards posted and stopping
  std::vector<Task> posted;
  bool stopping = false;

  int wait_ms() const {
    if (timers.empty()) return -1;
    int64_t left = timers.begin()->first.first - monotonic_ns();
    if (left <= 0) return 0;
    return static_cast<int>(std::min<int64_t>((left + 999999) / 1000000, 1 << 30));
  }

  void run_timers() {
    int64_t now = monotonic_ns();
    while (!timers.empty() && timers.begin()->first.first <= now) {
      auto node = timers.extract(timers.begin());
      timer_due.erase(node.key().second);
      node.mapped()();
    }
  }

  bool run_posted() {
    std::vector<Task> tasks;
    bool stop_now;
    {
      std::lock_guard lock(mutex);
      tasks.swap(posted);
      stop_now = stopping;
    }
    for (auto& task : tasks) task();
    return !stop_now;
  }
};

EventLoop::EventLoop() : state_(std::make_unique<State>()) {}
EventLoop::~EventLoop() = default;

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  std::unique_ptr<EventLoop> loop(new EventLoop);
  loop->state_->epoll.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!loop->state_->epoll) return fail_errno("epoll_create1");
  loop->state_->wake.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!loop->state_->wake) return fail_errno("eventfd");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = loop->state_->wake.get();
  if (epoll_ctl(loop->state_->epoll.get(), EPOLL_CTL_ADD, event.data.fd, &event) < 0) return fail_errno("epoll_ctl");
  return loop;
}

Result<> EventLoop::add(int fd, uint32_t events, Callback callback) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(state_->epoll.get(), EPOLL_CTL_ADD, fd, &event) < 0) return fail_errno("epoll_ctl add fd %d", fd);
  auto entry = std::make_shared<State::Entry>();
  entry->callback = std::move(callback);
  state_->entries[fd] = std::move(entry);
  return {};
}

Result<> EventLoop::modify(int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(state_->epoll.get(), EPOLL_CTL_MOD, fd, &event) < 0) return fail_errno("epoll_ctl mod fd %d", fd);
  return {};
}

void EventLoop::remove(int fd) {
  auto found = state_->entries.find(fd);
  if (found == state_->entries.end()) return;
  found->second->live = false;
  state_->entries.erase(found);
  epoll_ctl(state_->epoll.get(), EPOLL_CTL_DEL, fd, nullptr);
}

EventLoop::TimerId EventLoop::after_ms(int64_t delay_ms, Task task) {
  TimerId id = state_->next_timer++;
  int64_t due = monotonic_ns() + delay_ms * 1000000;
  state_->timers.emplace(std::pair(due, id), std::move(task));
  state_->timer_due[id] = due;
  return id;
}

void EventLoop::cancel(TimerId id) {
  auto due = state_->timer_due.find(id);
  if (due == state_->timer_due.end()) return;
  state_->timers.erase({due->second, id});
  state_->timer_due.erase(due);
}

void EventLoop::post(Task task) {
  {
    std::lock_guard lock(state_->mutex);
    state_->posted.push_back(std::move(task));
  }
  uint64_t one = 1;
  // EAGAIN means the counter is full, so the loop wakes anyway.
  [[maybe_unused]] ssize_t written = write(state_->wake.get(), &one, sizeof one);
}

void EventLoop::stop() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  post([] {});
}

void EventLoop::run() {
  epoll_event events[64];
  while (state_->run_posted()) {
    int count = epoll_wait(state_->epoll.get(), events, 64, state_->wait_ms());
    for (int i = 0; i < count; ++i) {
      int fd = events[i].data.fd;
      if (fd == state_->wake.get()) {
        uint64_t drained;
        [[maybe_unused]] ssize_t got = read(fd, &drained, sizeof drained);
        continue;
      }
      auto found = state_->entries.find(fd);
      if (found == state_->entries.end()) continue;
      std::shared_ptr<State::Entry> entry = found->second;
      if (entry->live) entry->callback(events[i].events);
    }
    state_->run_timers();
  }
}

}  // namespace caisson::sys
