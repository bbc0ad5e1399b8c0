// SPDX-License-Identifier: Apache-2.0
#include "engine/executor.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace caisson::engine {

struct Executor::State {
  std::mutex mutex;
  std::condition_variable work, gone;
  std::deque<std::move_only_function<void()>> tasks;
  int threads = 0, idle = 0, max_threads = 1;
  bool stopping = false;

  void serve() {
    std::unique_lock lock(mutex);
    while (true) {
      if (tasks.empty()) {
        if (stopping) break;
        ++idle;
        bool woken = work.wait_for(lock, std::chrono::seconds(10), [this] { return stopping || !tasks.empty(); });
        --idle;
        if (!woken) break;
        continue;
      }
      auto task = std::move(tasks.front());
      tasks.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
    }
    --threads;
    gone.notify_all();
  }
};

Executor::Executor(int max_threads) : state_(std::make_shared<State>()) { state_->max_threads = max_threads; }

Executor::~Executor() {
  std::unique_lock lock(state_->mutex);
  state_->stopping = true;
  state_->work.notify_all();
  state_->gone.wait(lock, [this] { return state_->threads == 0; });
}

void Executor::post(std::move_only_function<void()> task) {
  std::lock_guard lock(state_->mutex);
  state_->tasks.push_back(std::move(task));
  if (state_->idle == 0 && state_->threads < state_->max_threads) {
    ++state_->threads;
    std::thread([state = state_] { state->serve(); }).detach();
  } else {
    state_->work.notify_one();
  }
}

}  // namespace caisson::engine
