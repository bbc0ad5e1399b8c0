// SPDX-License-Identifier: Apache-2.0
#include "api/stats_streams.h"

#include <chrono>
#include <condition_variable>
#include <list>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "engine/stats.h"

namespace caisson::api {

namespace {
constexpr int64_t kPeriodNs = 1'000'000'000;
constexpr size_t kMaxBacklog = 256 << 10;
}  // namespace

struct StatsStreams::State {
  struct Subscriber {
    std::shared_ptr<http::Stream> stream;
    engine::ContainerPtr container;
    const sys::CgroupSystem* cgroups = nullptr;
    bool once = false;
    bool gone = false;
    int64_t due_ns = 0;  // monotonic
    spec::CpuStats previous_cpu;
    std::string previous_read{kZeroTime};
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::list<std::shared_ptr<Subscriber>> subscribers;
  bool stopping = false;
  std::thread thread;

  // False when nobody will read on.
  static bool send(Subscriber& to) {
    auto record = to.container->snapshot();
    if (record->status() == engine::Status::kRemoving || record->status() == engine::Status::kDead) {
      to.stream->end();
      return false;
    }
    auto sample = engine::sample_stats(*record, *to.cgroups);
    sample.pre_cpu = std::exchange(to.previous_cpu, sample.cpu);
    sample.pre_read = std::exchange(to.previous_read, sample.read);
    if (to.stream->backlog() > kMaxBacklog) return true;
    if (!to.stream->write(json::encode(sample) + "\n")) return false;
    if (!to.once) return true;
    to.stream->end();
    return false;
  }

  void run() {
    std::unique_lock lock(mutex);
    while (!stopping) {
      int64_t now = monotonic_ns(), next = now + 3600 * kPeriodNs;
      std::vector<std::shared_ptr<Subscriber>> due;
      std::erase_if(subscribers, [](const auto& entry) { return entry->gone; });
      for (auto& entry : subscribers) {
        if (entry->due_ns <= now) {
          entry->due_ns = std::max(entry->due_ns + kPeriodNs, now + kPeriodNs / 2);
          due.push_back(entry);
        }
        next = std::min(next, entry->due_ns);
      }
      if (due.empty()) {
        changed.wait_for(lock, std::chrono::nanoseconds(next - now));
        continue;
      }
      lock.unlock();
      std::vector<std::shared_ptr<Subscriber>> ended;
      for (auto& entry : due)
        if (!send(*entry)) ended.push_back(entry);
      lock.lock();
      for (auto& entry : ended) entry->gone = true;
    }
  }
};

StatsStreams::StatsStreams() : state_(std::make_shared<State>()) {}

StatsStreams::~StatsStreams() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    state_->changed.notify_all();
  }
  if (state_->thread.joinable()) state_->thread.join();
}

void StatsStreams::add(std::shared_ptr<http::Stream> stream, engine::ContainerPtr container,
                       const sys::CgroupSystem& cgroups, bool once) {
  auto entry = std::make_shared<State::Subscriber>();
  entry->stream = stream;
  entry->container = std::move(container);
  entry->cgroups = &cgroups;
  entry->due_ns = monotonic_ns();
  if (once) {
    auto sample = engine::sample_stats(*entry->container->snapshot(), cgroups);
    entry->previous_cpu = sample.cpu;
    entry->previous_read = sample.read;
    entry->once = true;
    entry->due_ns += kPeriodNs;
  }
  stream->on_closed([state = state_, weak = std::weak_ptr(entry)] {
    std::lock_guard lock(state->mutex);
    if (auto there = weak.lock()) there->gone = true;
    state->changed.notify_all();
  });
  std::lock_guard lock(state_->mutex);
  state_->subscribers.push_back(std::move(entry));
  if (!state_->thread.joinable()) state_->thread = std::thread([state = state_.get()] { state->run(); });
  state_->changed.notify_all();
}

}  // namespace caisson::api
