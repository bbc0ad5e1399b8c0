// SPDX-License-Identifier: Apache-2.0
// Threads for work that nobody waits for: exits of containers, removal of directories. Grows while
// tasks wait, shrinks when idle, so an idle engine has none.
#pragma once

#include <functional>
#include <memory>

namespace caisson::engine {

class Executor {
 public:
  explicit Executor(int max_threads);
  ~Executor();                                      // runs what was posted, then joins
  void post(std::move_only_function<void()> task);  // any thread

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace caisson::engine
