// SPDX-License-Identifier: Apache-2.0
// Answering side of a connection: heads, replies, streams. Everything here may run on any thread.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "base/text.h"
#include "wire/http_server_connection.h"
#include "wire/json.h"

namespace caisson::http {

namespace {

constexpr int kDrainSeconds = 5;
constexpr size_t kMaxKeptOutput = 4096;

const char* http_date() {
  thread_local time_t second = 0;
  thread_local char text[40];
  time_t now = time(nullptr);
  if (now != second) {
    tm parts;
    gmtime_r(&now, &parts);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    second = now;
  }
  return text;
}

bool is_framing_header(std::string_view name) {
  return equals_ignore_case(name, "Content-Length") || equals_ignore_case(name, "Transfer-Encoding") ||
         equals_ignore_case(name, "Connection");
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  size_t at = out.size();
  out += value;
  // A line end in a value would start a header, or an answer, of somebody else's making.
  for (; at < out.size(); ++at)
    if (out[at] == '\r' || out[at] == '\n' || out[at] == '\0') out[at] = ' ';
  out += "\r\n";
}

}  // namespace

bool status_has_body(int status) { return status >= 200 && status != 204 && status != 304; }

std::string error_body(std::string_view message) { return "{\"message\":" + json::quote(message) + "}\n"; }

std::string answer_head(ServerCore& core, int status, const Headers& headers, const AnswerFraming& framing) {
  std::shared_ptr<const Headers> common;
  {
    std::lock_guard lock(core.mutex);
    common = core.common_headers;
  }
  std::string out;
  out.reserve(512);
  char number[24];
  snprintf(number, sizeof number, "%d ", status);
  ((out += "HTTP/1.1 ") += number) += status_text(status);
  out += "\r\n";
  for (const auto& [name, value] : common->list())
    if (!headers.find(name)) append_header(out, name, value);
  for (const auto& [name, value] : headers.list())
    if (!is_framing_header(name)) append_header(out, name, value);
  if (!headers.find("Date")) append_header(out, "Date", http_date());
  if (framing.kind == AnswerFraming::kLength) {
    snprintf(number, sizeof number, "%llu", static_cast<unsigned long long>(framing.length));
    append_header(out, "Content-Length", number);
  }
  if (framing.kind == AnswerFraming::kChunked) out += "Transfer-Encoding: chunked\r\n";
  if (!framing.keep_alive)
    out += "Connection: close\r\n";
  else if (framing.minor_version == 0)
    out += "Connection: keep-alive\r\n";
  out += "\r\n";
  return out;
}

// Sends what the socket takes now; the rest waits for EPOLLOUT.
void Connection::push(std::initializer_list<std::string_view> parts) {
  size_t skip = 0;
  if (output_.empty() && !broken_) {
    iovec vectors[4];
    msghdr message{};
    message.msg_iov = vectors;
    for (std::string_view part : parts)
      if (!part.empty()) vectors[message.msg_iovlen++] = {const_cast<char*>(part.data()), part.size()};
    ssize_t sent = sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0)
      skip = static_cast<size_t>(sent);
    else if (errno != EAGAIN && errno != EINTR)
      broken_ = true;
  }
  if (broken_) return post_close();
  for (std::string_view part : parts) {
    size_t here = std::min(skip, part.size());
    skip -= here;
    output_ += part.substr(here);
  }
  if (!output_.empty()) arm(armed_ | EPOLLOUT);
}

void Connection::flush() {
  while (output_at_ < output_.size()) {
    ssize_t sent =
        send(fd_.get(), output_.data() + output_at_, output_.size() - output_at_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      output_at_ += static_cast<size_t>(sent);
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      broken_ = true;
      break;
    }
  }
  if (output_at_ == output_.size()) {
    output_at_ = 0;
    output_.clear();
    if (output_.capacity() > kMaxKeptOutput) output_.shrink_to_fit();
  } else if (output_at_ > (1 << 20)) {
    output_.erase(0, std::exchange(output_at_, 0));
  }
}

// With the lock held; the request is current and unanswered.
void Connection::answer(int status, const Headers& headers, std::string_view body, Outbox& outbox) {
  if (framing_ != Framing::kNone && state_ == State::kBusy) body_unread_ = true;
  if (body_unread_) keep_alive_ = false;
  answered_ = true;
  AnswerFraming framing{.length = body.size(), .keep_alive = keep_alive_, .minor_version = minor_version_};
  if (status_has_body(status)) framing.kind = AnswerFraming::kLength;
  std::string head = answer_head(*core_, status, headers, framing);
  if (framing.kind == AnswerFraming::kNoBody || is_head_) body = {};
  push({head, body});
  finish_answer(outbox);
}

void Connection::reply(Serial serial, int status, const Headers& headers, std::string body) {
  Outbox outbox;
  std::lock_guard lock(mutex_);
  if (current(serial) && !answered_) answer(status, headers, body, outbox);
}

void Connection::drop(Serial serial) {
  Outbox outbox;
  std::lock_guard lock(mutex_);
  if (!current(serial) || answered_) return;
  Headers headers;
  headers.add("Content-Type", "application/json");
  answer(500, headers, error_body("the request was given up without an answer"), outbox);
}

// The whole answer is queued: no stream callbacks any more, and the next request when it is sent.
void Connection::finish_answer(Outbox& outbox) {
  finished_ = true;
  ++serial_;
  outbox.destroy.push_back(std::move(drained_));
  for (Task& task : closed_) outbox.destroy.push_back(std::move(task));
  closed_.clear();
  if (output_.empty() && !broken_) next_request();
}

void Connection::next_request() {
  finished_ = answered_ = streaming_ = chunked_ = drained_posted_ = false;
  std::string().swap(output_);
  if (body_unread_) {
    // Closing with unread bytes would reset the connection, and the client might not see the answer.
    shutdown(fd_.get(), SHUT_WR);
    state_ = State::kDraining;
    core_->post([self = shared_from_this()] {
      std::lock_guard lock(self->mutex_);
      if (self->state_ != State::kDraining) return;
      std::string().swap(self->input_);
      self->input_at_ = 0;
      self->set_deadline(kDrainSeconds);
      self->arm(EPOLLIN | EPOLLRDHUP);
    });
    return;
  }
  if (!keep_alive_) return post_close();
  state_ = State::kHead;
  if (pending().empty() && armed_ == (EPOLLIN | EPOLLRDHUP)) return;
  resume_posted_ = true;
  core_->post([self = shared_from_this()] {
    Outbox outbox;
    std::lock_guard lock(self->mutex_);
    self->resume_posted_ = false;
    if (self->state_ != State::kHead) return;
    self->arm(EPOLLIN | EPOLLRDHUP);
    self->process(outbox);
  });
}

void Connection::start_stream(Serial serial, int status, const Headers& headers) {
  std::lock_guard lock(mutex_);
  if (!current(serial) || answered_) return;
  if (framing_ != Framing::kNone) body_unread_ = true;
  answered_ = streaming_ = true;
  chunked_ = minor_version_ > 0;
  if (!chunked_ || body_unread_) keep_alive_ = false;
  AnswerFraming framing{.keep_alive = keep_alive_, .minor_version = minor_version_};
  if (status_has_body(status)) framing.kind = chunked_ ? AnswerFraming::kChunked : AnswerFraming::kToEnd;
  push({answer_head(*core_, status, headers, framing)});
  // Bodies of these are dropped by write_stream.
  if (framing.kind == AnswerFraming::kNoBody) is_head_ = true;
}

bool Connection::write_stream(Serial serial, std::string_view data) {
  std::lock_guard lock(mutex_);
  if (!current(serial) || broken_) return false;
  if (data.empty() || is_head_) return true;
  if (output_.size() - output_at_ + data.size() > core_->limits.max_stream_backlog) {
    broken_ = true;
    post_close();
    return false;
  }
  char size[24];
  snprintf(size, sizeof size, "%zx\r\n", data.size());
  if (chunked_)
    push({size, data, "\r\n"});
  else
    push({data});
  if (output_.empty() && (drained_ || in_drained_) && !drained_posted_) {
    drained_posted_ = true;
    core_->post([self = shared_from_this(), serial] { self->on_drained(serial, {}); });
  }
  return !broken_;
}

void Connection::end_stream(Serial serial) {
  Outbox outbox;
  std::lock_guard lock(mutex_);
  if (!current(serial) || !streaming_ || broken_) return;  // broken: the close is on its way
  if (chunked_ && !is_head_) push({"0\r\n\r\n"});
  finish_answer(outbox);
}

size_t Connection::backlog(Serial serial) {
  std::lock_guard lock(mutex_);
  return current(serial) ? output_.size() - output_at_ : 0;
}

// Sets the callback, or, with none given and on the loop thread, calls the one that is set.
void Connection::on_drained(Serial serial, Task callback) {
  std::unique_lock lock(mutex_);
  if (!current(serial) || !streaming_) return;
  if (callback) {
    std::swap(drained_, callback);
    if (output_.empty() && !drained_posted_) {
      drained_posted_ = true;
      core_->post([self = shared_from_this(), serial] { self->on_drained(serial, {}); });
    }
    lock.unlock();
    return;
  }
  drained_posted_ = false;
  if (!drained_ || !output_.empty()) return;
  Task running = std::move(drained_);
  drained_ = nullptr;
  in_drained_ = true;
  lock.unlock();
  running();
  lock.lock();
  in_drained_ = false;
  if (current(serial) && !drained_) drained_ = std::move(running);
  lock.unlock();
}

void Connection::on_closed(Serial serial, Task callback) {
  std::unique_lock lock(mutex_);
  if (serial != serial_ || (state_ != State::kBusy && state_ != State::kClosed)) return;
  if (state_ == State::kBusy && !peer_gone_) {
    closed_.push_back(std::move(callback));
    return;
  }
  lock.unlock();  // post() destroys it if the server is down
  core_->post(std::move(callback));
}

}  // namespace caisson::http
