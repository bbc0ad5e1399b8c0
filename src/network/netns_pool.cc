// SPDX-License-Identifier: Apache-2.0
#include "network/netns_pool.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "base/log.h"

namespace caisson::network {

namespace {
// Refilling costs 0.5 ms of CPU and the kernel's network locks, which the container that has just taken a
// namespace needs itself.
constexpr auto kRefillDelay = std::chrono::milliseconds(5);
}  // namespace

struct NetnsPool::State {
  explicit State(size_t wanted) : size(wanted) {}

  const size_t size;
  std::mutex mutex;
  std::condition_variable work, done;
  std::deque<sys::NewNamespace> ready;
  std::deque<Error> failures;  // one per waiter at most
  struct Job {
    int netns;
    const std::function<Result<>()>* body;
    std::optional<Result<>> done;
  };
  std::deque<Job*> jobs;  // their callers wait for them
  size_t waiting = 0;
  bool background_failed = false;  // until somebody asks again
  bool stop = false;
  std::chrono::steady_clock::time_point refill_at{};
  std::thread thread;
  bool running = false;

  void start_locked();
  void run();
};

// Called with the mutex held, by callers' threads only.
void NetnsPool::State::start_locked() {
  if (running || stop) return;
  if (thread.joinable()) thread.join();  // ended by itself, see run()
  running = true;
  thread = std::thread([this] { run(); });
}

void NetnsPool::State::run() {
  auto home = sys::open_own_netns();
  std::unique_lock lock(mutex);
  while (!stop) {
    if (!jobs.empty()) {
      Job* job = jobs.front();
      jobs.pop_front();
      lock.unlock();
      bool lost = false;
      auto result = home ? sys::run_in_netns_on_this_thread(job->netns, home->get(), lost, *job->body)
                         : Result<>(std::unexpected(home.error()));
      lock.lock();
      job->done = std::move(result);
      done.notify_all();
      if (lost) break;
      continue;
    }
    bool needed = waiting > ready.size() + failures.size();
    bool wanted = !background_failed && ready.size() < size + waiting;
    if (!needed && !wanted) {
      work.wait(lock);
      continue;
    }
    if (!needed && std::chrono::steady_clock::now() < refill_at) {
      work.wait_until(lock, refill_at);
      continue;
    }
    lock.unlock();
    bool lost = false;
    auto made = home ? sys::create_netns_on_this_thread(home->get(), lost)
                     : Result<sys::NewNamespace>(std::unexpected(home.error()));
    lock.lock();
    if (made) {
      ready.push_back(std::move(*made));
    } else if (waiting > ready.size() + failures.size()) {
      failures.push_back(made.error());
    } else {
      background_failed = true;
      log_debug("fill the pool of network namespaces: %s, ignoring", made.error().message.c_str());
    }
    done.notify_all();
    if (lost) break;  // this thread sits in the wrong namespace; the next caller starts another
  }
  running = false;
  done.notify_all();
}

NetnsPool::NetnsPool(size_t size) : state_(std::make_unique<State>(size)) {}

NetnsPool::~NetnsPool() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->work.notify_all();
  if (state_->thread.joinable()) state_->thread.join();
}

Result<sys::NewNamespace> NetnsPool::take() {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  state.background_failed = false;
  state.refill_at = std::chrono::steady_clock::now() + kRefillDelay;
  ++state.waiting;
  while (state.ready.empty() && state.failures.empty() && !state.stop) {
    state.start_locked();
    state.work.notify_one();
    state.done.wait(lock);
  }
  --state.waiting;
  if (!state.ready.empty()) {
    auto taken = std::move(state.ready.front());
    state.ready.pop_front();
    state.start_locked();
    state.work.notify_one();
    return taken;
  }
  if (state.failures.empty()) return fail(ErrorKind::kCancelled, "network is shutting down");
  Error error = std::move(state.failures.front());
  state.failures.pop_front();
  return std::unexpected(std::move(error));
}

Result<> NetnsPool::run_inside(int netns, const std::function<Result<>()>& body) {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  State::Job job{netns, &body, {}};
  state.jobs.push_back(&job);
  while (!job.done) {
    // One that is being carried out is waited for: it refers to this call's variables.
    if (state.stop && std::erase(state.jobs, &job)) return fail(ErrorKind::kCancelled, "network is shutting down");
    state.start_locked();
    state.work.notify_one();
    state.done.wait(lock);
  }
  return std::move(*job.done);
}

Result<sys::NewNamespace> NetnsPool::enter(int netns) {
  std::optional<sys::NewNamespace> entered;
  TRY(run_inside(netns, [&]() -> Result<> {
    entered = sys::NewNamespace{TRY(sys::open_own_netns()), TRY(sys::RouteSocket::open())};
    return {};
  }));
  return std::move(*entered);
}

void NetnsPool::warm_up() {
  std::lock_guard lock(state_->mutex);
  if (!state_->size) return;
  state_->background_failed = false;
  state_->start_locked();
  state_->work.notify_one();
}

}  // namespace caisson::network
