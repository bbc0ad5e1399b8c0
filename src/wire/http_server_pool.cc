// SPDX-License-Identifier: Apache-2.0
#include "wire/http_server_pool.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <vector>

#include "base/log.h"
#include "base/result.h"

namespace caisson::http {

namespace {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kStackSize = 1 << 20;  // their frames are bigger
#else
constexpr size_t kStackSize = 256 << 10;
#endif
constexpr int kIdleSeconds = 10;

int start_thread(void* (*function)(void*), void* argument) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kStackSize);
  // Signals are the main thread's business.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  int error = pthread_create(&thread, &attributes, function, argument);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return error;
}
}  // namespace

struct WorkerPool::State {
  struct Worker {
    std::condition_variable wake;
    Task task;
  };

  explicit State(int max) : limit(max) {}

  std::weak_ptr<State> self_reference;
  std::mutex mutex;  // guards all below
  std::deque<Task> queue;
  // The last one idle is the first one used again: it is warm, and the others can time out.
  std::vector<Worker*> idle;
  std::condition_variable all_gone;
  int limit;  // max_workers and what running tasks have lent
  int threads = 0;
  bool stopping = false;

  // Waits for a task; an empty one means that the thread ends.
  Task next(std::unique_lock<std::mutex>& lock, Worker& self) {
    if (stopping) return {};
    if (!queue.empty()) {
      Task task = std::move(queue.front());
      queue.pop_front();
      return task;
    }
    if (threads > limit) return {};
    idle.push_back(&self);
    while (!self.task && !stopping) {
      if (threads == 1) {
        self.wake.wait(lock);
      } else {
        // The system clock, because g++ 12's thread sanitizer does not know pthread_cond_clockwait.
        auto due = std::chrono::system_clock::now() + std::chrono::seconds(kIdleSeconds);
        if (self.wake.wait_until(lock, due) == std::cv_status::timeout && !self.task && threads > 1) break;
      }
    }
    if (!self.task) std::erase(idle, &self);
    return std::move(self.task);
  }

  void work();
  bool grow(const std::shared_ptr<State>& self);  // with the lock held; false if it cannot

  static void* thread_main(void* opaque) {
    auto self = std::unique_ptr<std::shared_ptr<State>>(static_cast<std::shared_ptr<State>*>(opaque));
    (*self)->work();
    return nullptr;
  }
};

namespace {
// Set while a task runs on this thread.
thread_local WorkerPool::State* pool_of_this_thread = nullptr;
thread_local int lent_by_this_task = 0;
}  // namespace

void WorkerPool::State::work() {
  Worker self;
  pool_of_this_thread = this;
  std::unique_lock lock(mutex);
  while (Task task = next(lock, self)) {
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
    limit -= std::exchange(lent_by_this_task, 0);
  }
  if (--threads == 0) all_gone.notify_all();
}

bool WorkerPool::State::grow(const std::shared_ptr<State>& self) {
  if (threads >= limit) return false;
  auto reference = std::make_unique<std::shared_ptr<State>>(self);
  if (int error = start_thread(thread_main, reference.get())) {
    log_warn("starting a worker: %s", errno_text(error).c_str());
    return false;
  }
  reference.release();
  ++threads;
  return true;
}

WorkerPool::WorkerPool(int max_workers) : state_(std::make_shared<State>(std::max(max_workers, 1))) {
  state_->self_reference = state_;
}
WorkerPool::~WorkerPool() { stop(); }

Result<> WorkerPool::start() {
  std::lock_guard lock(state_->mutex);
  if (state_->threads == 0 && !state_->grow(state_))
    return fail(ErrorKind::kExhausted, "starting a worker thread failed");
  return {};
}

void WorkerPool::submit(Task task) {
  std::unique_lock lock(state_->mutex);
  if (state_->stopping) return;
  if (!state_->idle.empty()) {
    State::Worker* worker = state_->idle.back();
    state_->idle.pop_back();
    worker->task = std::move(task);
    worker->wake.notify_one();  // under the lock: the worker may end as soon as it can have it
    return;
  }
  state_->grow(state_);
  state_->queue.push_back(std::move(task));
}

void WorkerPool::leave_count_on_this_thread() {
  State* pool = pool_of_this_thread;
  if (!pool) return;
  std::lock_guard lock(pool->mutex);
  ++lent_by_this_task;
  ++pool->limit;
  if (!pool->queue.empty()) pool->grow(pool->self_reference.lock());
}

void WorkerPool::stop() {
  std::deque<Task> dropped;  // destroyed outside the lock
  std::unique_lock lock(state_->mutex);
  state_->stopping = true;
  dropped.swap(state_->queue);
  for (State::Worker* worker : state_->idle) worker->wake.notify_one();
  state_->all_gone.wait(lock, [&] { return state_->threads == 0; });
}

}  // namespace caisson::http
