// SPDX-License-Identifier: Apache-2.0
#include "engine/container.h"

#include <algorithm>

namespace caisson::engine {

uint64_t Container::add_waiter(WaitCondition condition, WaitCallback callback) {
  std::unique_lock lock(waiter_mutex_);
  auto record = snapshot();
  bool over = removed_ || (condition == WaitCondition::kNotRunning && !record->running());
  uint64_t id = next_waiter_++;
  if (!over) {
    waiters_.push_back({id, condition, std::move(callback)});
    return id;
  }
  lock.unlock();
  callback({record->exit_code, ""});
  return id;
}

bool Container::remove_waiter(uint64_t id) {
  std::lock_guard lock(waiter_mutex_);
  return std::erase_if(waiters_, [id](const Waiter& waiter) { return waiter.id == id; }) > 0;
}

void Container::finish_waiters(bool removed, const WaitOutcome& outcome) {
  std::vector<Waiter> done;
  {
    std::lock_guard lock(waiter_mutex_);
    if (removed) removed_ = true;
    auto first = std::stable_partition(waiters_.begin(), waiters_.end(), [removed](const Waiter& waiter) {
      return !removed && waiter.condition == WaitCondition::kRemoved;
    });
    for (auto at = first; at != waiters_.end(); ++at) done.push_back(std::move(*at));
    waiters_.erase(first, waiters_.end());
  }
  for (auto& waiter : done) waiter.callback(outcome);
}

void Container::notify_exit(const WaitOutcome& outcome) { finish_waiters(false, outcome); }
void Container::notify_removed(const WaitOutcome& outcome) { finish_waiters(true, outcome); }

}  // namespace caisson::engine
