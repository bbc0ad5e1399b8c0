// SPDX-License-Identifier: Apache-2.0
// The monitor's part in running out of memory: telling of each time the kernel has killed a process of the
// container, and carrying out the policy that all go when one had to.
#include <sys/epoll.h>

#include <algorithm>

#include "base/clock.h"
#include "base/text.h"
#include "monitor/monitor_state.h"
#include "sys/files.h"

namespace caisson::monitor {

namespace {

// The kernel tells before it kills, and counts the kill when it is done.
constexpr int64_t kLookAgainNs = 5'000'000, kLookForNs = 2'000'000'000;
constexpr size_t kMaxCandidates = 256;

std::string name_of(pid_t pid) {
  return std::string(trim(sys::read_file(format("/proc/%d/comm", pid), 64).value_or("")));
}

}  // namespace

void Monitor::OomPeer::on_ready(uint32_t) { monitor.on_oom_notice(); }

// Without a memory controller there is nothing to be told of.
void Monitor::watch_for_oom() {
  oom_told_ = 0;
  if (cgroup_.empty()) return;
  auto watch = sys::watch_oom(cgroup_);
  if (!watch) return;
  oom_watch_.emplace(std::move(*watch));
  if (!poller_.add(oom_peer_, oom_watch_->fd(), EPOLLIN)) oom_watch_.reset();
  // Version 2 can do it in one step; what the kernel has not done is done when the kill is seen.
  if (oom_group_ && cgroup_.v2) (void)sys::write_file(cgroup_.dirs.front() + "/memory.oom.group", "1").has_value();
}

void Monitor::stop_watching_oom() {
  if (!oom_watch_) return;
  poller_.remove(oom_peer_);
  oom_watch_.reset();
  oom_look_at_ = kNever;
  oom_candidates_ = {};
}

void Monitor::on_oom_notice() {
  auto event = oom_watch_->take();
  if (!event || event->ended) return stop_watching_oom();
  int64_t now = monotonic_ns();
  if (oom_look_at_ == kNever) {
    // Whoever is missing afterwards is the one.
    oom_candidates_.clear();
    auto pids = sys::cgroup_pids(cgroup_);
    if (pids && pids->size() <= kMaxCandidates)
      for (pid_t pid : *pids) oom_candidates_.emplace_back(pid, name_of(pid));
  }
  oom_look_until_ = now + kLookForNs;
  look_for_oom_kill(now);
}

void Monitor::look_for_oom_kill(int64_t now) {
  oom_look_at_ = kNever;
  if (tell_oom_kill()) return;
  if (now < oom_look_until_) oom_look_at_ = now + kLookAgainNs;
}

// True when the kernel has killed since the last time that was told.
bool Monitor::tell_oom_kill() {
  uint64_t kills = cgroup_.empty() ? 0 : sys::read_oom_kills(cgroup_).value_or(0);
  if (kills <= oom_told_) return false;
  oom_told_ = kills;
  running_.oom_killed = true;
  OomDetails details;
  if (auto stats = sys::read_cgroup_stats(cgroup_)) {
    details.memory_max_usage = stats->memory_max_usage;
    details.memory_limit = stats->memory_limit;
  }
  auto left = sys::cgroup_pids(cgroup_);
  std::erase_if(oom_candidates_, [&](const auto& candidate) {
    return !left || std::find(left->begin(), left->end(), candidate.first) != left->end();
  });
  // Two that are gone might be one killed and one that ended by itself.
  if (oom_candidates_.size() == 1) {
    details.pid = oom_candidates_[0].first;
    details.name = oom_candidates_[0].second;
  } else if (!child_.watched.pidfd && exit_.exit_code == 128 + 9) {
    details.pid = running_.pid;
  }
  oom_candidates_ = {};
  broadcast(MessageType::kOomEvent, encode_oom(details));
  if (oom_group_ && child_.watched.pidfd) (void)sys::kill_cgroup(cgroup_).has_value();
  return true;
}

}  // namespace caisson::monitor
