// SPDX-License-Identifier: Apache-2.0
// One container in memory: the published record, the queue of mutators, who waits for its end, and the
// attachments that came before its start. Decides nothing; that is lifecycle.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/record.h"
#include "monitor/client.h"

namespace caisson::engine {

struct OpenRoot;

// One container's entry in the list as text, but for the words that age ("Up 3 minutes").
struct SummaryText {
  std::shared_ptr<const ContainerRecord> record;  // of which it tells
  std::string image_name;
  std::string head, tail;  // around the quoted status
};

enum class WaitCondition : unsigned char { kNotRunning, kNextExit, kRemoved };

struct WaitOutcome {
  int64_t exit_code = 0;
  std::string error;
};
using WaitCallback = std::move_only_function<void(const WaitOutcome&)>;

// The right to change one container, until it is dropped.
class Operation {
 public:
  explicit Operation(void* mutex) : mutex_(mutex) {}
  Operation(Operation&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
  Operation& operator=(Operation&&) = delete;
  ~Operation() { unlock(); }
  void unlock();

 private:
  void* mutex_;  // a std::mutex, whose header stays out of ours
};

class Container {
 public:
  explicit Container(ContainerRecord record);
  ~Container();

  const std::string& id() const { return id_; }

  // Readers: never blocks on an operation.
  std::shared_ptr<const ContainerRecord> snapshot() const;

  // What was kept of the last listing, maybe of an older record; null at first.
  std::shared_ptr<const SummaryText> summary_text() const;
  void keep_summary_text(std::shared_ptr<const SummaryText> text);

  // For requests that need it running: a container's first output may reach its client before its start is
  // through here, so an operation that is under way is waited for before "not running" is believed.
  std::shared_ptr<const ContainerRecord> settled_snapshot();

  // The one mutator: whoever holds this may publish(). Held over kernel work, never over a wait for the
  // container or a client.
  [[nodiscard]] Operation begin_operation();
  void publish(ContainerRecord record);

  // The callback comes exactly once, from whichever thread ends the wait (maybe this one, now). The id
  // takes it back; false when it has run already.
  uint64_t add_waiter(WaitCondition condition, WaitCallback callback);
  bool remove_waiter(uint64_t id);
  // With the operation held.
  void notify_exit(const WaitOutcome& outcome);
  void notify_restarting(const WaitOutcome& outcome);  // only those who wait for the next exit
  void notify_removed(const WaitOutcome& outcome);

  // With the operation held: sockets to hand to the monitor at start.
  std::vector<monitor::Attachment>& pending_attachments() { return pending_attachments_; }
  // With the operation held: the root file system as somebody looks into it who came while it was stopped.
  std::weak_ptr<OpenRoot>& open_root() { return open_root_; }

 private:
  struct Shared;
  void finish_waiters(const WaitOutcome& outcome, bool (*concerned)(WaitCondition));

  const std::string id_;
  std::unique_ptr<Shared> shared_;
  std::vector<monitor::Attachment> pending_attachments_;
  std::weak_ptr<OpenRoot> open_root_;
};

using ContainerPtr = std::shared_ptr<Container>;

}  // namespace caisson::engine
