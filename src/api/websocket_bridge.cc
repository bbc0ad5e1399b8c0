// SPDX-License-Identifier: Apache-2.0
#include "api/websocket_bridge.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>

#include "base/log.h"

namespace caisson::api {

namespace {

constexpr size_t kReadSize = 64 << 10;
constexpr size_t kMaxWaiting = 1 << 20;  // bytes for a side that does not take them
constexpr size_t kFrameHeader = 8;

class Bridge : public std::enable_shared_from_this<Bridge> {
 public:
  Bridge(sys::EventLoop& loop, BridgeEnds ends) : loop_(loop), ends_(std::move(ends)) {}
  void start();

 private:
  void on_client(uint32_t events);
  void on_container(uint32_t events);
  bool take_frames();
  void unpack(std::string_view bytes);
  bool flush(int fd, std::string& waiting);
  void settle();
  void finish();

  sys::EventLoop& loop_;
  BridgeEnds ends_;
  websocket::FrameReader frames_;
  std::string to_client_, to_container_;
  std::string header_;  // of Docker's frame, as far as it has come
  uint32_t payload_left_ = 0;
  bool client_done_ = false;     // no more stdin
  bool container_done_ = false;  // no more output
  bool over_ = false;
};

void Bridge::start() {
  for (int fd : {ends_.client.get(), ends_.container.get()}) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  auto self = shared_from_this();
  auto added = loop_.add(ends_.client.get(), EPOLLIN, [self](uint32_t events) { self->on_client(events); });
  if (added) {
    added = loop_.add(ends_.container.get(), EPOLLIN, [self](uint32_t events) { self->on_container(events); });
    if (!added) loop_.remove(ends_.client.get());
  }
  if (!added) return log_warn("attaching by websocket: %s", added.error().message.c_str());
  frames_.feed(ends_.leftover);
  if (!take_frames()) return finish();
  settle();
}

// False when the client breaks the protocol.
bool Bridge::take_frames() {
  while (true) {
    auto piece = frames_.next();
    if (!piece) {
      log_info("%s", piece.error().message.c_str());
      return false;
    }
    if (!*piece) return true;
    switch ((*piece)->opcode) {
      case websocket::Opcode::kClose:
        to_client_ += websocket::frame(websocket::Opcode::kClose, (*piece)->data.substr(0, 2));
        client_done_ = container_done_ = true;
        return true;
      case websocket::Opcode::kPing: to_client_ += websocket::frame(websocket::Opcode::kPong, (*piece)->data); break;
      case websocket::Opcode::kPong: break;
      default:
        if (ends_.want_stdin) to_container_ += (*piece)->data;
    }
  }
}

void Bridge::unpack(std::string_view bytes) {
  if (!ends_.framed) {
    to_client_ += websocket::frame(ends_.opcode, bytes);
    return;
  }
  while (!bytes.empty()) {
    if (payload_left_ == 0) {
      size_t missing = std::min(kFrameHeader - header_.size(), bytes.size());
      header_ += bytes.substr(0, missing);
      bytes.remove_prefix(missing);
      if (header_.size() < kFrameHeader) return;
      for (size_t i = 4; i < kFrameHeader; ++i)
        payload_left_ = payload_left_ << 8 | static_cast<unsigned char>(header_[i]);
      header_.clear();
      continue;
    }
    size_t size = std::min<size_t>(payload_left_, bytes.size());
    to_client_ += websocket::frame(ends_.opcode, bytes.substr(0, size));
    payload_left_ -= static_cast<uint32_t>(size);
    bytes.remove_prefix(size);
  }
}

void Bridge::on_client(uint32_t events) {
  if (over_) return;
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    std::string piece(kReadSize, '\0');
    ssize_t got = recv(ends_.client.get(), piece.data(), piece.size(), 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return finish();
    if (got > 0) {
      frames_.feed({piece.data(), static_cast<size_t>(got)});
      if (!take_frames()) return finish();
    }
  }
  settle();
}

void Bridge::on_container(uint32_t events) {
  if (over_) return;
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    std::string piece(kReadSize, '\0');
    ssize_t got = recv(ends_.container.get(), piece.data(), piece.size(), 0);
    if (got > 0) unpack({piece.data(), static_cast<size_t>(got)});
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
      if (!container_done_) to_client_ += websocket::frame(websocket::Opcode::kClose, std::string("\x03\xe8", 2));
      container_done_ = client_done_ = true;
      to_container_.clear();
    }
  }
  settle();
}

bool Bridge::flush(int fd, std::string& waiting) {
  while (!waiting.empty()) {
    ssize_t sent = send(fd, waiting.data(), waiting.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN;
    waiting.erase(0, static_cast<size_t>(sent));
  }
  return true;
}

void Bridge::settle() {
  if (!flush(ends_.client.get(), to_client_)) return finish();
  // A container that does not read on has closed its stdin; its output goes on.
  if (ends_.container && !flush(ends_.container.get(), to_container_)) {
    to_container_.clear();
    ends_.want_stdin = false;
  }
  if (container_done_ && to_client_.empty()) return finish();
  uint32_t client = (to_client_.empty() ? 0u : static_cast<uint32_t>(EPOLLOUT)) |
                    (!client_done_ && to_container_.size() < kMaxWaiting ? static_cast<uint32_t>(EPOLLIN) : 0u);
  uint32_t container = (to_container_.empty() ? 0u : static_cast<uint32_t>(EPOLLOUT)) |
                       (!container_done_ && to_client_.size() < kMaxWaiting ? static_cast<uint32_t>(EPOLLIN) : 0u);
  // With nothing wanted a hang-up would still be told, over and over.
  if (container_done_ && ends_.container) {
    loop_.remove(ends_.container.get());
    ends_.container.reset();
    to_container_.clear();
  }
  auto changed = loop_.modify(ends_.client.get(), client);
  if (changed && !container_done_) changed = loop_.modify(ends_.container.get(), container);
  if (!changed) finish();
}

void Bridge::finish() {
  if (std::exchange(over_, true)) return;
  if (ends_.container) loop_.remove(ends_.container.get());
  loop_.remove(ends_.client.get());
}

}  // namespace

void start_bridge(sys::EventLoop& loop, BridgeEnds ends) {
  auto bridge = std::make_shared<Bridge>(loop, std::move(ends));
  loop.post([bridge] { bridge->start(); });
}

}  // namespace caisson::api
