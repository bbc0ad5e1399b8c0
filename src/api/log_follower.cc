// SPDX-License-Identifier: Apache-2.0
#include "api/log_follower.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "sys/event_loop.h"

namespace caisson::api {

namespace {
constexpr size_t kBatch = 256 << 10;
constexpr size_t kMaxBacklog = 1 << 20;
constexpr int64_t kPollMs = 1000;  // for what inotify cannot tell: rotation of the directory's names
}  // namespace

void LogShape::render(const logs::LogEntry& entry, std::string& out) const {
  std::string stamp = timestamps ? format_rfc3339_fixed(entry.time_ns) + " " : "";
  if (framed) {
    size_t size = stamp.size() + (details ? entry.details.size() + 1 : 0) + entry.text.size();
    const char header[8] = {static_cast<char>(entry.stream),
                            0,
                            0,
                            0,
                            static_cast<char>(size >> 24),
                            static_cast<char>(size >> 16),
                            static_cast<char>(size >> 8),
                            static_cast<char>(size)};
    out.append(header, sizeof header);
  }
  out += stamp;
  if (details) {
    out += entry.details;
    out += ' ';
  }
  out += entry.text;
}

struct LogFollower::State {
  struct Follower {
    std::shared_ptr<http::Stream> stream;
    std::unique_ptr<logs::LogReader> reader;
    LogShape shape;
    engine::ContainerPtr container;
    uint64_t waiter = 0;
    int watch = -1;
    bool ended = false;    // the container has: what is in the file now is all
    bool waiting = false;  // for the stream to drain
  };
  std::mutex mutex;  // guards the start of the thread
  std::unique_ptr<sys::EventLoop> loop;
  std::thread thread;
  UniqueFd inotify;
  std::map<uint64_t, Follower> followers;  // loop thread only
  std::map<int, std::vector<uint64_t>> by_watch;
  uint64_t next_id = 1;

  void drop(uint64_t id) {
    auto found = followers.find(id);
    if (found == followers.end()) return;
    found->second.container->remove_waiter(found->second.waiter);
    auto& ids = by_watch[found->second.watch];
    std::erase(ids, id);
    if (ids.empty()) {
      inotify_rm_watch(inotify.get(), found->second.watch);
      by_watch.erase(found->second.watch);
    }
    followers.erase(found);
  }

  void pump(uint64_t id) {
    auto found = followers.find(id);
    if (found == followers.end() || found->second.waiting) return;
    Follower& follower = found->second;
    while (true) {
      std::string batch;
      bool more = true;
      while (batch.size() < kBatch) {
        logs::LogEntry entry;
        auto read = follower.reader->next(entry);
        if (!read) log_warn("reading a container's log: %s", read.error().message.c_str());
        if (!read || !*read) {
          more = false;
          break;
        }
        follower.shape.render(entry, batch);
      }
      if (!batch.empty() && !follower.stream->write(batch)) return drop(id);
      if (!more) {
        if (!follower.ended && !follower.reader->ended()) return;
        follower.stream->end();
        return drop(id);
      }
      if (follower.stream->backlog() > kMaxBacklog) {
        follower.waiting = true;
        follower.stream->on_drained([this, id] {
          loop->post([this, id] {
            auto again = followers.find(id);
            // Told after every write from now on: what is late must not add to a backlog that has grown since.
            if (again == followers.end() || !again->second.waiting) return;
            if (again->second.stream->backlog() > kMaxBacklog) return;
            again->second.waiting = false;
            pump(id);
          });
        });
        return;
      }
    }
  }

  void on_inotify() {
    alignas(inotify_event) char buffer[4096];
    ssize_t got;
    while ((got = read(inotify.get(), buffer, sizeof buffer)) > 0) {
      for (ssize_t at = 0; at < got;) {
        auto* event = reinterpret_cast<inotify_event*>(buffer + at);
        at += static_cast<ssize_t>(sizeof *event + event->len);
        auto found = by_watch.find(event->wd);
        if (found == by_watch.end()) continue;
        std::vector<uint64_t> ids = found->second;
        for (uint64_t id : ids) pump(id);
      }
    }
  }

  void tick() {
    std::vector<uint64_t> ids;
    for (auto& [id, follower] : followers) {
      ids.push_back(id);
      if (follower.waiting && follower.stream->backlog() <= kMaxBacklog) follower.waiting = false;
    }
    for (uint64_t id : ids) pump(id);
    if (!followers.empty()) loop->after_ms(kPollMs, [this] { tick(); });
  }

  Result<> ensure_thread() {
    std::lock_guard lock(mutex);
    if (loop) return {};
    UniqueFd fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!fd) return fail_errno("inotify_init1");
    auto created = TRY(sys::EventLoop::create());
    TRY(created->add(fd.get(), EPOLLIN, [this](uint32_t) { on_inotify(); }));
    inotify = std::move(fd);
    loop = std::move(created);
    thread = std::thread([this] { loop->run(); });
    return {};
  }
};

LogFollower::LogFollower() : state_(std::make_shared<State>()) {}

LogFollower::~LogFollower() {
  if (!state_->loop) return;
  state_->loop->stop();
  state_->thread.join();
}

Result<> LogFollower::follow(std::shared_ptr<http::Stream> stream, std::unique_ptr<logs::LogReader> reader,
                             const std::string& log_path, LogShape shape, const engine::ContainerPtr& container,
                             int64_t until_ns) {
  TRY(state_->ensure_thread());
  auto reader_holder = std::make_shared<std::unique_ptr<logs::LogReader>>(std::move(reader));
  // weak: a stream or a container may call back after the engine has begun to go down.
  std::weak_ptr<State> weak = state_;
  state_->loop->post([weak, stream, reader_holder, log_path, shape, container, until_ns] {
    auto state = weak.lock();
    if (!state) return;
    uint64_t id = state->next_id++;
    State::Follower follower;
    follower.stream = stream;
    follower.reader = std::move(*reader_holder);
    follower.shape = shape;
    follower.container = container;
    // Rotation replaces the file, so the directory is watched as a whole.
    std::string dir = log_path.substr(0, log_path.rfind('/'));
    follower.watch = inotify_add_watch(state->inotify.get(), dir.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO);
    if (follower.watch < 0) log_debug("inotify_add_watch '%s': %s, ignoring", dir.c_str(), "polling instead");
    state->by_watch[follower.watch].push_back(id);
    bool first = state->followers.empty();
    state->followers.emplace(id, std::move(follower));
    auto end = [weak, id] {
      auto again = weak.lock();
      if (!again) return;
      auto found = again->followers.find(id);
      if (found == again->followers.end()) return;
      found->second.ended = true;
      again->pump(id);
    };
    auto on_end = [weak, end](const engine::WaitOutcome&) {
      if (auto alive = weak.lock()) alive->loop->post(end);
    };
    state->followers[id].waiter = container->add_waiter(engine::WaitCondition::kNextExit, on_end);
    // It may have ended just before.
    if (auto record = container->snapshot(); !record->running() || record->pid == 0) state->loop->post(end);
    if (until_ns != 0) state->loop->after_ms(std::max<int64_t>(0, (until_ns - now_ns()) / 1'000'000 + 1), end);
    stream->on_closed([weak, id] {
      if (auto alive = weak.lock())
        alive->loop->post([weak, id] {
          if (auto again = weak.lock()) again->drop(id);
        });
    });
    state->pump(id);
    if (first)
      state->loop->after_ms(kPollMs, [weak] {
        if (auto again = weak.lock()) again->tick();
      });
  });
  return {};
}

}  // namespace caisson::api
