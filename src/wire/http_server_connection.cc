// SPDX-License-Identifier: Apache-2.0
// Reading side and life of a connection. Answers are in http_server_answer.cc.
#include "wire/http_server_connection.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"

namespace caisson::http {

namespace {
constexpr uint32_t kReading = EPOLLIN | EPOLLRDHUP;
}  // namespace

Connection::Connection(std::shared_ptr<ServerCore> core, UniqueFd fd, PeerInfo peer)
    : core_(std::move(core)), peer_(std::move(peer)), fd_(std::move(fd)) {}

Result<> Connection::start() {
  std::lock_guard lock(mutex_);
  armed_ = kReading;
  return core_->loop->add(fd_.get(), armed_, [self = shared_from_this()](uint32_t events) { self->on_event(events); });
}

void Connection::arm(uint32_t events) {
  if (armed_ == events || !fd_) return;
  armed_ = events;
  (void)core_->loop->modify(fd_.get(), events);
}

void Connection::set_deadline(int seconds) {
  deadline_ns_ = seconds ? monotonic_ns() + int64_t{seconds} * 1000000000 : 0;
  if (deadline_ns_) core_->start_sweep();
}

bool Connection::has_deadline() {
  std::lock_guard lock(mutex_);
  return deadline_ns_ != 0;
}

void Connection::on_sweep(int64_t now) {
  Outbox outbox;
  std::lock_guard lock(mutex_);
  if (deadline_ns_ == 0 || now < deadline_ns_) return;
  if (state_ == State::kHead || state_ == State::kBody)
    refuse(408, "the request did not arrive in time", outbox);
  else if (state_ == State::kDraining)
    close_locked(outbox);
  else
    deadline_ns_ = 0;
}

void Connection::on_event(uint32_t events) {
  Outbox outbox;
  std::lock_guard lock(mutex_);
  if (state_ == State::kTaken || state_ == State::kClosed) return;
  if (events & EPOLLOUT) {
    flush();
    if (broken_) return close_locked(outbox);
    if (output_.empty()) {
      arm(armed_ & ~EPOLLOUT);
      if (finished_) {
        next_request();
      } else if (streaming_ && drained_ && !drained_posted_) {
        drained_posted_ = true;
        core_->post([self = shared_from_this(), serial = serial_] { self->on_drained(serial, {}); });
      }
    }
  }
  if (!(events & ~EPOLLOUT)) return;
  switch (state_) {
    case State::kHead:
    case State::kBody:
      if (!resume_posted_) read_input(outbox);
      return;
    case State::kBusy: return busy_event(outbox);
    case State::kDraining: return discard_input(outbox);
    case State::kTaken:
    case State::kClosed: return;
  }
}

void Connection::use_input(size_t count) {
  input_at_ += count;
  if (input_at_ < input_.size()) return;
  input_at_ = 0;
  if (input_.capacity() > 512)
    std::string().swap(input_);
  else
    input_.clear();
}

void Connection::read_input(Outbox& outbox) {
  ssize_t got = recv(fd_.get(), core_->scratch.get(), ServerCore::kScratchSize, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return close_locked(outbox);
  if (input_at_) input_.erase(0, std::exchange(input_at_, 0));
  input_.append(core_->scratch.get(), static_cast<size_t>(got));
  process(outbox);
}

void Connection::process(Outbox& outbox) {
  bool advanced = true;
  while (advanced && (state_ == State::kHead || state_ == State::kBody))
    advanced = state_ == State::kHead ? process_head(outbox) : process_body(outbox);
}

bool Connection::process_head(Outbox& outbox) {
  // RFC 9112 2.2: empty lines before a request are skipped.
  while (searched_ == 0 && pending().starts_with("\r\n")) use_input(2);
  if (pending().empty()) return false;
  auto end = find_head_end(pending(), searched_);
  if (!end) return refuse(end.error().status, end.error().message, outbox), false;
  if (*end > core_->limits.max_header_bytes || (*end == 0 && pending().size() > core_->limits.max_header_bytes))
    return refuse(431, "request head too big", outbox), false;
  if (*end == 0) {
    if (deadline_ns_ == 0) set_deadline(core_->limits.header_timeout_s);
    return false;
  }
  searched_ = 0;
  deadline_ns_ = 0;
  auto head = parse_request_head(pending().substr(0, *end), core_->limits.max_headers);
  if (!head) return refuse(head.error().status, head.error().message, outbox), false;
  use_input(*end);

  framing_ = head->framing;
  body_left_ = head->framing == Framing::kLength ? head->content_length : 0;
  if (body_left_ == 0 && framing_ == Framing::kLength) framing_ = Framing::kNone;
  decoder_ = {};
  minor_version_ = head->minor_version;
  keep_alive_ = head->keep_alive;
  is_head_ = head->method == "HEAD";
  expect_continue_ = head->expect_continue && framing_ != Framing::kNone;
  request_ = std::make_shared<Request>();
  request_->method = std::move(head->method);
  request_->path = std::move(head->path);
  request_->query = Query::parse(head->query);
  request_->headers = std::move(head->headers);
  request_->peer = peer_;

  RouteDecision decision = core_->router(*request_);
  if (!decision.handler) {
    if (framing_ != Framing::kNone) body_unread_ = true;
    state_ = State::kBusy;
    Headers headers;
    headers.add("Content-Type", "application/json");
    answer(decision.error_status, headers,
           decision.error_body.empty() ? error_body("page not found") : decision.error_body, outbox);
    return true;
  }
  handler_ = std::move(decision.handler);
  on_loop_ = decision.on_loop;
  if (framing_ == Framing::kNone || decision.stream_body) {
    dispatch(outbox);
    return false;
  }
  if (framing_ == Framing::kLength && body_left_ > core_->limits.max_body_bytes)
    return refuse(413, "request body too large", outbox), false;
  state_ = State::kBody;
  if (std::exchange(expect_continue_, false) && pending().empty()) push({"HTTP/1.1 100 Continue\r\n\r\n"});
  return true;
}

bool Connection::process_body(Outbox& outbox) {
  std::string& body = request_->body;
  bool complete = false;
  if (framing_ == Framing::kLength) {
    std::string_view piece = pending().substr(0, body_left_);
    if (body.empty() && piece.size() < body_left_) body.reserve(body_left_ < (64 << 10) ? body_left_ : 64 << 10);
    body += piece;
    body_left_ -= piece.size();
    use_input(piece.size());
    complete = body_left_ == 0;
  } else {
    while (!decoder_.done() && !pending().empty()) {
      auto step = decoder_.next(pending());
      if (!step) return refuse(step.error().status, step.error().message, outbox), false;
      if (body.size() + step->data.size() > core_->limits.max_body_bytes)
        return refuse(413, "request body too large", outbox), false;
      body += step->data;
      use_input(step->consumed);
    }
    complete = decoder_.done();
  }
  if (complete) {
    framing_ = Framing::kNone;
    dispatch(outbox);
  } else {
    set_deadline(core_->limits.header_timeout_s);  // of silence
  }
  return false;
}

void Connection::dispatch(Outbox& outbox) {
  state_ = State::kBusy;
  deadline_ns_ = 0;
  auto exchange = make_exchange(core_, shared_from_this(), std::move(request_), serial_);
  Task task = [handler = std::exchange(handler_, {}), exchange = std::move(exchange)]() mutable {
    try {
      handler(std::move(exchange));
    } catch (const std::exception& error) {
      // A bug or no memory; the exchange, dropped, answers 500.
      log_error("a request handler threw: %s", error.what());
    }
  };
  if (on_loop_)
    outbox.run.push_back(std::move(task));  // the handler will take the lock
  else
    core_->pool.submit(std::move(task));
}

// Answers a request that cannot be read further, then closes.
void Connection::refuse(int status, std::string_view message, Outbox& outbox) {
  if (state_ == State::kHead) is_head_ = false;  // the last request's
  state_ = State::kBusy;
  keep_alive_ = false;
  body_unread_ = true;
  deadline_ns_ = 0;
  Headers headers;
  headers.add("Content-Type", "application/json");
  answer(status, headers, error_body(message), outbox);
}

// Bytes, an end or an error while a request is being answered. The state of the socket is asked for anew:
// the event may be a stale one of an earlier descriptor of this number.
void Connection::busy_event(Outbox& outbox) {
  pollfd now{fd_.get(), POLLIN | POLLRDHUP, 0};
  if (poll(&now, 1, 0) <= 0) return;
  if (now.revents & (POLLHUP | POLLERR)) return close_locked(outbox);
  if (!(now.revents & POLLRDHUP)) return arm(armed_ & ~EPOLLIN);  // pipelined or hijack bytes: later
  arm(armed_ & ~kReading);
  // A client may close its sending side and wait for the answer. On unix sockets a full close shows as
  // POLLHUP; on TCP the two look the same, and there, as in Docker, a wait or a stream ends.
  if (peer_.is_unix) return;
  if (streaming_) return close_locked(outbox);
  peer_gone_ = true;
  for (Task& task : closed_) outbox.run.push_back(std::move(task));
  closed_.clear();
}

void Connection::discard_input(Outbox& outbox) {
  ssize_t got = recv(fd_.get(), core_->scratch.get(), ServerCore::kScratchSize, MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) close_locked(outbox);
}

void Connection::close_now() {
  Outbox outbox;
  std::lock_guard lock(mutex_);
  if (state_ != State::kTaken) close_locked(outbox);
}

// Loop thread only.
void Connection::close_locked(Outbox& outbox) {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  deadline_ns_ = 0;
  core_->loop->remove(fd_.get());
  fd_.reset();
  for (Task& task : closed_) outbox.run.push_back(std::move(task));
  closed_.clear();
  outbox.destroy.push_back(std::move(drained_));
  std::string().swap(input_);
  std::string().swap(output_);
  input_at_ = output_at_ = 0;
  // The map may hold the last reference, and mutex_ is held.
  outbox.destroy.push_back([self = shared_from_this()] {});
  core_->connections.erase(this);
  core_->on_connection_gone();
}

void Connection::post_close() {
  core_->post([self = shared_from_this()] { self->close_now(); });
}

Connection::Taken Connection::take(Serial serial) {
  Taken taken;
  std::vector<Task> destroy;
  std::lock_guard lock(mutex_);
  if (!current(serial) || answered_) return taken;
  // The loop's registration can be removed on the loop thread only, so it keeps the old descriptor
  // until it gets there and this thread goes on with a second one.
  int copy = fcntl(fd_.get(), F_DUPFD_CLOEXEC, 3);
  if (copy < 0) {
    log_warn("taking a connection over: %s", errno_text(errno).c_str());
    answered_ = true;
    post_close();
    return taken;
  }
  taken.fd.reset(copy);
  fcntl(copy, F_SETFL, fcntl(copy, F_GETFL) & ~O_NONBLOCK);
  taken.unsent = output_.substr(output_at_);
  taken.input = pending();
  taken.framing = framing_;
  taken.left = body_left_;
  taken.expect_continue = expect_continue_;
  taken.is_head = is_head_;
  taken.minor_version = minor_version_;
  state_ = State::kTaken;
  destroy.swap(closed_);
  core_->post([self = shared_from_this()] {
    std::unique_lock guard(self->mutex_);
    self->core_->loop->remove(self->fd_.get());
    self->fd_.reset();
    guard.unlock();
    self->core_->connections.erase(self.get());
    self->core_->on_connection_gone();
  });
  return taken;
}

}  // namespace caisson::http
