// SPDX-License-Identifier: Apache-2.0
#include "engine/container.h"

#include <algorithm>
#include <mutex>

namespace caisson::engine {

namespace {
struct Waiter {
  uint64_t id;
  WaitCondition condition;
  WaitCallback callback;
};
}  // namespace

struct Container::Shared {
  std::mutex record_mutex;  // held for a pointer's copy only
  std::shared_ptr<const ContainerRecord> record;
  std::shared_ptr<const SummaryText> summary_text;  // same mutex
  std::mutex operation_mutex;
  std::mutex waiter_mutex;
  std::vector<Waiter> waiters;
  uint64_t next_waiter = 1;
  bool removed = false;
};

void Operation::unlock() {
  if (auto* mutex = static_cast<std::mutex*>(std::exchange(mutex_, nullptr))) mutex->unlock();
}

Container::Container(ContainerRecord record) : id_(record.id), shared_(std::make_unique<Shared>()) {
  shared_->record = std::make_shared<const ContainerRecord>(std::move(record));
}
Container::~Container() = default;

std::shared_ptr<const ContainerRecord> Container::snapshot() const {
  std::lock_guard lock(shared_->record_mutex);
  return shared_->record;
}

std::shared_ptr<const SummaryText> Container::summary_text() const {
  std::lock_guard lock(shared_->record_mutex);
  return shared_->summary_text;
}

void Container::keep_summary_text(std::shared_ptr<const SummaryText> text) {
  std::lock_guard lock(shared_->record_mutex);
  // A listing that was overtaken by a change would only keep an old record alive.
  if (text->record == shared_->record) shared_->summary_text.swap(text);
}

std::shared_ptr<const ContainerRecord> Container::settled_snapshot() {
  auto record = snapshot();
  if (record->running()) return record;
  auto operation = begin_operation();
  return snapshot();
}

Operation Container::begin_operation() {
  shared_->operation_mutex.lock();
  return Operation(&shared_->operation_mutex);
}

void Container::publish(ContainerRecord record) {
  auto next = std::make_shared<const ContainerRecord>(std::move(record));
  std::shared_ptr<const SummaryText> old_text;
  std::lock_guard lock(shared_->record_mutex);
  shared_->record.swap(next);
  shared_->summary_text.swap(old_text);
}

uint64_t Container::add_waiter(WaitCondition condition, WaitCallback callback) {
  std::unique_lock lock(shared_->waiter_mutex);
  auto record = snapshot();
  bool over = shared_->removed || (condition == WaitCondition::kNotRunning && !record->running());
  uint64_t id = shared_->next_waiter++;
  if (!over) {
    shared_->waiters.push_back({id, condition, std::move(callback)});
    return id;
  }
  lock.unlock();
  callback({record->exit_code, ""});
  return id;
}

bool Container::remove_waiter(uint64_t id) {
  std::lock_guard lock(shared_->waiter_mutex);
  return std::erase_if(shared_->waiters, [id](const Waiter& waiter) { return waiter.id == id; }) > 0;
}

void Container::finish_waiters(const WaitOutcome& outcome, bool (*concerned)(WaitCondition)) {
  std::vector<Waiter> done;
  {
    std::lock_guard lock(shared_->waiter_mutex);
    auto& waiters = shared_->waiters;
    auto first = std::stable_partition(waiters.begin(), waiters.end(),
                                       [&](const Waiter& waiter) { return !concerned(waiter.condition); });
    for (auto at = first; at != waiters.end(); ++at) done.push_back(std::move(*at));
    waiters.erase(first, waiters.end());
  }
  for (auto& waiter : done) waiter.callback(outcome);
}

void Container::notify_exit(const WaitOutcome& outcome) {
  finish_waiters(outcome, [](WaitCondition condition) { return condition != WaitCondition::kRemoved; });
}
void Container::notify_restarting(const WaitOutcome& outcome) {
  finish_waiters(outcome, [](WaitCondition condition) { return condition == WaitCondition::kNextExit; });
}
void Container::notify_removed(const WaitOutcome& outcome) {
  {
    std::lock_guard lock(shared_->waiter_mutex);
    shared_->removed = true;
  }
  finish_waiters(outcome, [](WaitCondition) { return true; });
}

}  // namespace caisson::engine
