// SPDX-License-Identifier: Apache-2.0
// Network namespaces made ahead of time by one helper thread, the only thread of the engine that ever
// changes its namespace. Starts its thread with the first call of take() or warm_up(). Thread-safe.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "base/result.h"
#include "sys/netns.h"

namespace caisson::network {

class NetnsPool {
 public:
  explicit NetnsPool(size_t size);  // 0: made on demand only
  ~NetnsPool();

  // A prepared namespace, or one made now.
  Result<sys::NewNamespace> take();
  // Runs `body` on the pool's thread, in `netns`. Blocks until it is done.
  Result<> run_inside(int netns, const std::function<Result<>()>& body);
  Result<sys::NewNamespace> enter(int netns);
  // Fills the pool in the background.
  void warm_up();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace caisson::network
