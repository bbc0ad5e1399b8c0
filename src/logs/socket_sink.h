// SPDX-License-Identifier: Apache-2.0
// Messages to a peer that may be slow, stuck or gone: a bounded queue in front of a non-blocking socket.
// A peer that is lost is connected to again; what waits is kept, and meanwhile nobody waits for it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace caisson::logs {

// Mode blocking: above this the container's output is not read.
inline constexpr size_t kSinkHighWater = 1 << 20;
// What the pipes still hold at the end of the container comes on top; more is dropped. So is what comes
// while there is no connection.
inline constexpr size_t kSinkBound = 16 << 20;

class SocketSink {
 public:
  struct Options {
    bool udp = false;
    bool large_by_memfd = false;  // journald: what is too long for a datagram goes in a sealed memory file
    bool non_blocking = false;
    size_t max_buffer = 1 << 20;  // of mode non-blocking
  };
  // A connected or connecting non-blocking socket.
  using Dial = std::function<Result<UniqueFd>()>;

  SocketSink(Options options, Dial dial) : options_(options), dial_(std::move(dial)) {}
  // Connects for the first time; waits at most `timeout_ms` for a stream.
  Result<> open(int timeout_ms);

  // DOCKER-QUIRK: when the buffer is full it is the new message that is dropped.
  void push(std::string message);
  void send();  // as much as the peer takes now
  void linger();
  void keep_open() { linger_until_ = INT64_MAX; }

  int poll_fd() const { return epoll_.get(); }
  void on_ready();
  int64_t next_deadline() const;
  void on_time(int64_t now);
  bool full() const { return !options_.non_blocking && answers_ && bytes_ > kSinkHighWater; }
  bool lingering() const { return linger_until_ != INT64_MAX && !queue_.empty(); }
  uint64_t dropped() const { return dropped_; }

 private:
  enum class Sent { kAll, kSome, kNow, kLost };
  Sent send_one(const std::string& message);
  Sent send_large(const std::string& message);
  void adopt(UniqueFd socket);
  void lose();
  void watch(uint32_t events);

  Options options_;
  Dial dial_;
  UniqueFd epoll_, socket_;
  uint32_t watched_ = 0;
  bool datagrams_ = true;
  bool answers_ = false;  // the peer has taken something on this connection
  std::deque<std::string> queue_;
  size_t bytes_ = 0;
  size_t sent_ = 0;  // of the first message, on a stream
  int64_t retry_at_ = INT64_MAX;
  int64_t retry_delay_ = 0;
  int64_t linger_until_ = INT64_MAX;
  uint64_t dropped_ = 0;
};

}  // namespace caisson::logs
