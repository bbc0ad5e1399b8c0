// SPDX-License-Identifier: Apache-2.0
// The server's workers: threads made when a task finds none idle, gone after ten idle seconds but for one.
#pragma once

#include <functional>
#include <memory>

#include "base/result.h"

namespace caisson::http {

class WorkerPool {
 public:
  using Task = std::move_only_function<void()>;
  explicit WorkerPool(int max_workers);
  ~WorkerPool();
  Result<> start();        // makes the worker that always stays
  void submit(Task task);  // any thread; queues when all workers are taken
  // Called inside a task: its thread no longer counts against the maximum, until the task returns.
  static void leave_count_on_this_thread();
  struct State;
  void stop();  // drops what is queued, waits for what runs

 private:
  std::shared_ptr<State> state_;
};

}  // namespace caisson::http
