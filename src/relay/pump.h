// SPDX-License-Identifier: Apache-2.0
// One direction of a connection: bytes from one socket to another until the end of the stream, which is passed on.
// They go through a lent pipe without being copied, or, when none is to be had, through one shared buffer; what the
// receiver does not take at once stays in the sender's socket (or in the pipe), so nothing is allocated per connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/unique_fd.h"

namespace caisson::relay {

struct Pipe {
  UniqueFd out, in;
};

// Pipes for the directions that have something under way. A slow receiver keeps its pipe: beyond the limit others copy.
class PipePool {
 public:
  explicit PipePool(size_t limit = kMaxPipes) : limit_(limit) {}
  std::optional<Pipe> take();
  void give_back(Pipe pipe);  // empty
  void lost() { --lent_; }    // one that was closed with bytes in it
  char* buffer();             // kCopySize bytes
  size_t lent() const { return lent_; }

  static constexpr size_t kMaxPipes = 64;
  static constexpr size_t kMaxSpare = 4;
  static constexpr int kPipeSize = 256 << 10;
  static constexpr size_t kCopySize = 64 << 10;

 private:
  size_t limit_, lent_ = 0;
  std::vector<Pipe> spare_;
  std::unique_ptr<char[]> buffer_;
};

// A socket of a connection. The flags are what edge-triggered events have told and EAGAIN has not taken back.
struct Side {
  UniqueFd fd;
  bool readable = false, writable = false;
};

class Pump {
 public:
  enum class Outcome : uint8_t {
    kWaiting,   // for an event
    kMore,      // has had its share for now
    kFinished,  // the end of the stream has been passed on
    kBroken,    // one of the sockets failed
  };
  explicit Pump(PipePool& pool) : pool_(pool) {}
  ~Pump();
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  Outcome run(Side& from, Side& to);
  bool finished() const { return finished_; }

  static constexpr size_t kShare = 1 << 20;  // bytes per call

 private:
  enum class Step : uint8_t { kMoved, kBlocked, kEnd, kBroken };
  Step fill(Side& from);
  Step drain(Side& to);
  Step copy(Side& from, Side& to);
  void return_pipe();

  PipePool& pool_;
  std::optional<Pipe> pipe_;
  size_t in_pipe_ = 0;
  size_t moved_ = 0;
  bool finished_ = false;
};

}  // namespace caisson::relay
