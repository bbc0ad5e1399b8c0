// SPDX-License-Identifier: Apache-2.0
#include "relay/pump.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace caisson::relay {

std::optional<Pipe> PipePool::take() {
  if (lent_ >= limit_) return std::nullopt;
  if (spare_.empty()) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return std::nullopt;
    // Best effort: the user's share of pipe memory may be used up, by others of the same user too.
    (void)fcntl(ends[1], F_SETPIPE_SZ, kPipeSize);
    spare_.push_back({UniqueFd(ends[0]), UniqueFd(ends[1])});
  }
  Pipe pipe = std::move(spare_.back());
  spare_.pop_back();
  ++lent_;
  return pipe;
}

void PipePool::give_back(Pipe pipe) {
  --lent_;
  if (spare_.size() < kMaxSpare) spare_.push_back(std::move(pipe));
}

char* PipePool::buffer() {
  if (!buffer_) buffer_.reset(new char[kCopySize]);
  return buffer_.get();
}

Pump::~Pump() { return_pipe(); }

void Pump::return_pipe() {
  if (!pipe_) return;
  if (in_pipe_ == 0)
    pool_.give_back(std::move(*pipe_));
  else
    pool_.lost();
  pipe_.reset();
  in_pipe_ = 0;
}

// The pipe is empty: EAGAIN can only mean that the socket is.
Pump::Step Pump::fill(Side& from) {
  ssize_t got =
      splice(from.fd.get(), nullptr, pipe_->in.get(), nullptr, PipePool::kPipeSize, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (got > 0) {
    in_pipe_ = static_cast<size_t>(got);
    return Step::kMoved;
  }
  if (got == 0) return Step::kEnd;
  if (errno == EINTR) return Step::kMoved;
  if (errno != EAGAIN) return Step::kBroken;
  from.readable = false;
  return Step::kBlocked;
}

Pump::Step Pump::drain(Side& to) {
  ssize_t put = splice(pipe_->out.get(), nullptr, to.fd.get(), nullptr, in_pipe_, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (put > 0) {
    in_pipe_ -= static_cast<size_t>(put);
    moved_ += static_cast<size_t>(put);
    return Step::kMoved;
  }
  if (put < 0 && errno == EINTR) return Step::kMoved;
  if (put == 0 || errno != EAGAIN) return Step::kBroken;
  to.writable = false;
  return Step::kBlocked;
}

// Looks at what is there, sends it, and takes from the socket only what was sent.
Pump::Step Pump::copy(Side& from, Side& to) {
  if (!to.writable) return Step::kBlocked;
  char* buffer = pool_.buffer();
  ssize_t got = recv(from.fd.get(), buffer, PipePool::kCopySize, MSG_PEEK | MSG_DONTWAIT);
  if (got == 0) return Step::kEnd;
  if (got < 0 && errno == EINTR) return Step::kMoved;
  if (got < 0 && errno != EAGAIN) return Step::kBroken;
  if (got < 0) {
    from.readable = false;
    return Step::kBlocked;
  }
  ssize_t put = send(to.fd.get(), buffer, static_cast<size_t>(got), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (put < 0 && errno == EINTR) return Step::kMoved;
  if (put < 0 && errno != EAGAIN) return Step::kBroken;
  if (put < 0) {
    to.writable = false;
    return Step::kBlocked;
  }
  moved_ += static_cast<size_t>(put);
  if (recv(from.fd.get(), nullptr, static_cast<size_t>(put), MSG_TRUNC | MSG_DONTWAIT) != put) return Step::kBroken;
  return Step::kMoved;
}

Pump::Outcome Pump::run(Side& from, Side& to) {
  moved_ = 0;
  while (!finished_) {
    Step step = Step::kBlocked;
    if (in_pipe_ > 0) {
      if (to.writable) step = drain(to);
    } else {
      if (moved_ >= kShare) {
        return_pipe();
        return Outcome::kMore;
      }
      if (!pipe_ && from.readable) pipe_ = pool_.take();
      if (from.readable) step = pipe_ ? fill(from) : copy(from, to);
    }
    if (step == Step::kBroken) return Outcome::kBroken;
    if (step == Step::kBlocked) {
      if (in_pipe_ == 0) return_pipe();
      return Outcome::kWaiting;
    }
    if (step == Step::kEnd) {
      return_pipe();
      if (shutdown(to.fd.get(), SHUT_WR) < 0) return Outcome::kBroken;
      finished_ = true;
    }
  }
  return Outcome::kFinished;
}

}  // namespace caisson::relay
