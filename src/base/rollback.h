// SPDX-License-Identifier: Apache-2.0
// Undo list for creation in several steps: what was added runs in reverse order unless commit() came.
#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace caisson {

class Rollback {
 public:
  Rollback() = default;
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;
  ~Rollback() {
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) (*step)();
  }
  void add(std::move_only_function<void()> undo) { steps_.push_back(std::move(undo)); }
  void commit() { steps_.clear(); }

 private:
  std::vector<std::move_only_function<void()>> steps_;
};

}  // namespace caisson
