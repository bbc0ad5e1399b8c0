// SPDX-License-Identifier: Apache-2.0
// One container in memory: the published record, the queue of mutators, who waits for its end, and the
// attachments that came before its start. Decides nothing; that is lifecycle.
#pragma once

#include <functional>
#include <memory>
#include <mutex>  // a member of this class; included nowhere but in engine's own files
#include <string>
#include <vector>

#include "engine/record.h"
#include "monitor/client.h"

namespace caisson::engine {

enum class WaitCondition : unsigned char { kNotRunning, kNextExit, kRemoved };

struct WaitOutcome {
  int64_t exit_code = 0;
  std::string error;
};
using WaitCallback = std::move_only_function<void(const WaitOutcome&)>;

class Container {
 public:
  explicit Container(ContainerRecord record)
      : id_(record.id), record_(std::make_shared<const ContainerRecord>(std::move(record))) {}

  const std::string& id() const { return id_; }

  // Readers: never blocks on an operation.
  std::shared_ptr<const ContainerRecord> snapshot() const {
    std::lock_guard lock(record_mutex_);
    return record_;
  }

  // The one mutator: whoever holds this may publish(). Held over kernel work, never over a wait for the
  // container or a client.
  [[nodiscard]] std::unique_lock<std::mutex> begin_operation() { return std::unique_lock(operation_mutex_); }
  void publish(ContainerRecord record) {
    auto next = std::make_shared<const ContainerRecord>(std::move(record));
    std::lock_guard lock(record_mutex_);
    record_.swap(next);
  }

  // The callback comes exactly once, from whichever thread ends the wait (maybe this one, now). The id
  // takes it back; false when it has run already.
  uint64_t add_waiter(WaitCondition condition, WaitCallback callback);
  bool remove_waiter(uint64_t id);
  // With the operation held.
  void notify_exit(const WaitOutcome& outcome);
  void notify_removed(const WaitOutcome& outcome);

  // With the operation held: sockets to hand to the monitor at start.
  std::vector<monitor::Attachment>& pending_attachments() { return pending_attachments_; }

 private:
  struct Waiter {
    uint64_t id;
    WaitCondition condition;
    WaitCallback callback;
  };
  void finish_waiters(bool removed, const WaitOutcome& outcome);

  const std::string id_;
  mutable std::mutex record_mutex_;
  std::shared_ptr<const ContainerRecord> record_;
  std::mutex operation_mutex_;
  std::mutex waiter_mutex_;
  std::vector<Waiter> waiters_;
  uint64_t next_waiter_ = 1;
  bool removed_ = false;
  std::vector<monitor::Attachment> pending_attachments_;
};

using ContainerPtr = std::shared_ptr<Container>;

}  // namespace caisson::engine
