// SPDX-License-Identifier: Apache-2.0
#include "logs/socket_sink.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "logs/container_log.h"
#include "sys/files.h"

namespace caisson::logs {

namespace {
constexpr size_t kMessageCost = 64;  // of one queued message beside its bytes
constexpr int64_t kFirstRetryNs = 100'000'000, kLastRetryNs = 5'000'000'000;
}  // namespace

Result<> SocketSink::open(int timeout_ms) {
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return fail_errno("epoll_create1");
  adopt(TRY(dial_()));
  if (!datagrams_) {
    pollfd entry{socket_.get(), POLLOUT, 0};
    if (poll(&entry, 1, timeout_ms) == 0)
      return fail(ErrorKind::kUnavailable, "connect: no answer within %d s", timeout_ms / 1000);
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return fail_errno_of(error, "connect");
  }
  answers_ = true;
  return {};
}

void SocketSink::adopt(UniqueFd socket) {
  socket_ = std::move(socket);
  int type = SOCK_DGRAM;
  socklen_t size = sizeof type;
  getsockopt(socket_.get(), SOL_SOCKET, SO_TYPE, &type, &size);
  datagrams_ = type == SOCK_DGRAM;
  retry_at_ = INT64_MAX;
  watch(EPOLLIN);
}

void SocketSink::watch(uint32_t events) {
  if (events == watched_) return;
  epoll_event event{};
  event.events = events;
  if (epoll_ctl(epoll_.get(), watched_ == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, socket_.get(), &event) == 0)
    watched_ = events;
}

void SocketSink::lose() {
  socket_.reset();  // leaves the epoll set by itself
  watched_ = 0;
  answers_ = false;
  sent_ = 0;  // the rest of a message alone would be nonsense to another connection
  retry_delay_ = std::clamp(retry_delay_ * 2, kFirstRetryNs, kLastRetryNs);
  retry_at_ = monotonic_ns() + retry_delay_;
}

void SocketSink::push(std::string message) {
  size_t cost = message.size() + kMessageCost;
  size_t bound = options_.non_blocking ? options_.max_buffer : answers_ ? kSinkBound : kSinkHighWater;
  if (!queue_.empty() && bytes_ + cost > bound) {
    ++dropped_;
    return;
  }
  bytes_ += cost;
  queue_.push_back(std::move(message));
}

void SocketSink::send() {
  while (!queue_.empty() && socket_) {
    switch (send_one(queue_.front())) {
      case Sent::kAll:
        bytes_ -= queue_.front().size() + kMessageCost;
        queue_.pop_front();
        sent_ = 0;
        retry_delay_ = 0;
        answers_ = true;
        break;
      case Sent::kSome: break;
      case Sent::kNow: return watch(EPOLLIN | EPOLLOUT);
      case Sent::kLost: return lose();
    }
  }
  if (socket_) watch(EPOLLIN);
  if (queue_.empty()) queue_.shrink_to_fit();
}

SocketSink::Sent SocketSink::send_one(const std::string& message) {
  ssize_t put = ::send(socket_.get(), message.data() + sent_, message.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (put >= 0) {
    sent_ += static_cast<size_t>(put);
    return datagrams_ || sent_ == message.size() ? Sent::kAll : Sent::kSome;
  }
  switch (errno) {
    case EINTR: return Sent::kSome;
    case EAGAIN: return Sent::kNow;
    // A unix datagram that is larger than the send buffer can ever take.
    case EMSGSIZE:
    case ENOBUFS:
      if (options_.large_by_memfd) return send_large(message);
      if (datagrams_) {
        ++dropped_;
        return Sent::kAll;
      }
      return Sent::kLost;
    // A closed port that an earlier message has met; telling of it has cleared it.
    case ECONNREFUSED: return options_.udp ? Sent::kSome : Sent::kLost;
    default: return Sent::kLost;
  }
}

// systemd.journal-fields(7), "native protocol": an empty datagram that carries a fully sealed memfd.
SocketSink::Sent SocketSink::send_large(const std::string& message) {
  UniqueFd file(memfd_create("journal-message", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file || !sys::write_all(file.get(), message) ||
      fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
    ++dropped_;
    return Sent::kAll;
  }
  msghdr head{};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  head.msg_control = control;
  head.msg_controllen = sizeof control;
  cmsghdr* rights = CMSG_FIRSTHDR(&head);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  int fd = file.get();
  memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  if (sendmsg(socket_.get(), &head, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return Sent::kAll;
  return errno == EAGAIN ? Sent::kNow : Sent::kLost;
}

void SocketSink::on_ready() {
  if (!socket_) return;
  char nothing[512];
  ssize_t got = recv(socket_.get(), nothing, sizeof nothing, MSG_DONTWAIT);
  // Peers have nothing to say. An error of a datagram socket (a port that is not open) is taken by this read.
  if (!datagrams_ && (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))) return lose();
  send();
}

int64_t SocketSink::next_deadline() const {
  return std::min(socket_ ? INT64_MAX : retry_at_, lingering() ? linger_until_ : INT64_MAX);
}

void SocketSink::on_time(int64_t now) {
  if (lingering() && linger_until_ <= now) {
    dropped_ += queue_.size();
    queue_.clear();
    bytes_ = sent_ = 0;
  }
  if (socket_ || retry_at_ > now) return;
  auto again = dial_();
  if (!again) return lose();
  adopt(std::move(*again));
  send();
}

void SocketSink::linger() { linger_until_ = monotonic_ns() + kLingerNs; }

}  // namespace caisson::logs
