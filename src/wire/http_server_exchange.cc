// SPDX-License-Identifier: Apache-2.0
// What handlers see of a connection: Exchange, Stream, and the blocking TakenConnection.
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <cstring>

#include "base/clock.h"
#include "base/text.h"
#include "wire/http_server_connection.h"

namespace caisson::http {

namespace {

constexpr size_t kReadSize = 16 << 10;
constexpr int kLingerMs = 1000;

Result<> send_blocking(int fd, std::string_view data) {
  while (!data.empty()) {
    ssize_t sent = send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent >= 0)
      data.remove_prefix(static_cast<size_t>(sent));
    else if (errno != EINTR)
      return fail_errno("write to the client");
  }
  return {};
}

class StreamHandle : public Stream {
 public:
  StreamHandle(std::shared_ptr<Connection> connection, Serial serial)
      : connection_(std::move(connection)), serial_(serial) {}
  ~StreamHandle() override { connection_->end_stream(serial_); }
  bool write(std::string_view data) override { return connection_->write_stream(serial_, data); }
  void end() override { connection_->end_stream(serial_); }
  size_t backlog() const override { return connection_->backlog(serial_); }
  void on_drained(std::move_only_function<void()> callback) override {
    connection_->on_drained(serial_, std::move(callback));
  }
  void on_closed(std::move_only_function<void()> callback) override {
    connection_->on_closed(serial_, std::move(callback));
  }

 private:
  std::shared_ptr<Connection> connection_;
  Serial serial_;
};

class TakenSocket : public TakenConnection {
 public:
  TakenSocket(std::shared_ptr<ServerCore> core, Connection::Taken taken)
      : core_(std::move(core)), taken_(std::move(taken)), body_done_(taken_.framing == Framing::kNone) {
    std::lock_guard lock(core_->mutex);
    if (!taken_.fd) return;
    core_->taken.insert(taken_.fd.get());
    if (core_->stopped) shutdown(taken_.fd.get(), SHUT_RDWR);
  }

  ~TakenSocket() override {
    if (!taken_.fd) return;
    if (!begun_) {
      Headers headers;
      headers.add("Content-Type", "application/json");
      std::string body = error_body("the request was given up without an answer");
      headers.add("Content-Length", std::to_string(body.size()));
      if (begin_response(500, headers) && write(body)) (void)finish();
    }
    if (finished_) linger();
    forget();
  }

  int fd() const override { return taken_.fd.get(); }

  Raw release() override {
    (void)send_unsent();
    begun_ = true;
    forget();
    return {std::move(taken_.fd), std::move(taken_.input)};
  }

  Result<size_t> read(std::span<char> buffer) override {
    if (body_done_ || buffer.empty()) return 0;
    if (std::exchange(taken_.expect_continue, false) && taken_.input.empty() && !begun_) {
      TRY(send_unsent());
      TRY(send_all("HTTP/1.1 100 Continue\r\n\r\n"));
    }
    return taken_.framing == Framing::kLength ? read_length(buffer) : read_chunked(buffer);
  }

  Result<> begin_response(int status, const Headers& headers) override {
    if (begun_.exchange(true)) return fail(ErrorKind::kInternal, "http: the response has begun already");
    AnswerFraming framing{.keep_alive = false, .minor_version = taken_.minor_version};
    auto length = headers.find("Content-Length");
    if (status_has_body(status)) {
      framing.kind = length                 ? AnswerFraming::kLength
                     : taken_.minor_version ? AnswerFraming::kChunked
                                            : AnswerFraming::kToEnd;
      framing.length = length ? parse_uint(*length).value_or(0) : 0;
      has_body_ = !taken_.is_head;
    }
    chunked_ = framing.kind == AnswerFraming::kChunked;
    TRY(send_unsent());
    return send_all(answer_head(*core_, status, headers, framing));
  }

  Result<> write(std::string_view data) override {
    if (!begun_ || finished_) return fail(ErrorKind::kInternal, "http: no response is being written");
    if (data.empty() || !has_body_) return {};
    if (!chunked_) return send_all(data);
    char size[24];
    snprintf(size, sizeof size, "%zx\r\n", data.size());
    if (data.size() < kReadSize) return send_all(size + std::string(data) + "\r\n");
    TRY(send_all(size));
    TRY(send_all(data));
    return send_all("\r\n");
  }

  Result<> finish() override {
    if (!begun_) return fail(ErrorKind::kInternal, "http: no response is being written");
    if (finished_.exchange(true) || !chunked_ || !has_body_) return {};
    return send_all("0\r\n\r\n");
  }

 private:
  Result<> send_all(std::string_view data) { return send_blocking(taken_.fd.get(), data); }
  Result<> send_unsent() { return send_all(std::exchange(taken_.unsent, {})); }

  Result<size_t> receive(std::span<char> buffer) {
    while (true) {
      ssize_t got = recv(taken_.fd.get(), buffer.data(), buffer.size(), 0);
      if (got > 0) return static_cast<size_t>(got);
      if (got == 0) return fail(ErrorKind::kCancelled, "the client closed the connection inside the request body");
      if (errno != EINTR) return fail_errno("read from the client");
    }
  }

  Result<size_t> read_length(std::span<char> buffer) {
    size_t want = std::min<uint64_t>(buffer.size(), taken_.left), got;
    if (!taken_.input.empty()) {
      got = std::string_view(taken_.input).copy(buffer.data(), want);
      taken_.input.erase(0, got);
    } else {
      got = TRY(receive(buffer.first(want)));
    }
    taken_.left -= got;
    body_done_ = taken_.left == 0;
    return got;
  }

  Result<size_t> read_chunked(std::span<char> buffer) {
    while (true) {
      if (taken_.input.empty()) {
        taken_.input.resize(kReadSize);
        auto got = receive(std::span(taken_.input));
        taken_.input.resize(got ? *got : 0);
        if (!got) return got;
      }
      auto step = decoder_.next(std::string_view(taken_.input).substr(used_, buffer.size()));
      if (!step) return fail(ErrorKind::kInvalid, "http: malformed request body: %s", step.error().message.c_str());
      size_t size = step->data.copy(buffer.data(), buffer.size());
      used_ += step->consumed;
      body_done_ = decoder_.done();
      // Behind the end of the body are bytes for release() to give out.
      if (used_ == taken_.input.size() || body_done_) taken_.input.erase(0, std::exchange(used_, 0));
      if (size || body_done_) return size;
    }
  }

  // Lets the client read the answer before unread request bytes make the kernel reset the connection.
  void linger() {
    if (body_done_ && taken_.input.empty()) return;
    shutdown(taken_.fd.get(), SHUT_WR);
    char waste[4096];
    int64_t deadline = monotonic_ns() + int64_t{kLingerMs} * 1000000;
    for (int64_t left; (left = (deadline - monotonic_ns()) / 1000000) > 0;) {
      pollfd waiting{taken_.fd.get(), POLLIN, 0};
      if (poll(&waiting, 1, static_cast<int>(left)) <= 0) return;
      if (recv(taken_.fd.get(), waste, sizeof waste, MSG_DONTWAIT) <= 0) return;
    }
  }

  void forget() {
    std::lock_guard lock(core_->mutex);
    core_->taken.erase(taken_.fd.get());
  }

  const std::shared_ptr<ServerCore> core_;
  Connection::Taken taken_;
  ChunkedDecoder decoder_;
  size_t used_ = 0;  // of taken_.input, by the chunked decoder
  bool body_done_;
  std::atomic<bool> begun_ = false, finished_ = false;  // one thread may read while another answers
  bool chunked_ = false, has_body_ = false;
};

class ExchangeHandle : public Exchange {
 public:
  ExchangeHandle(std::shared_ptr<ServerCore> core, std::shared_ptr<Connection> connection,
                 std::shared_ptr<Request> request, Serial serial)
      : core_(std::move(core)), connection_(std::move(connection)), request_(std::move(request)), serial_(serial) {}
  ~ExchangeHandle() override { connection_->drop(serial_); }

  Request& request() override { return *request_; }
  void reply(int status, const Headers& headers, std::string body) override {
    connection_->reply(serial_, status, headers, std::move(body));
  }
  std::shared_ptr<Stream> start_stream(int status, const Headers& headers) override {
    connection_->start_stream(serial_, status, headers);
    return std::make_shared<StreamHandle>(connection_, serial_);
  }
  std::unique_ptr<TakenConnection> take_over() override {
    WorkerPool::leave_count_on_this_thread();
    return std::make_unique<TakenSocket>(core_, connection_->take(serial_));
  }
  void on_closed(std::move_only_function<void()> callback) override {
    connection_->on_closed(serial_, std::move(callback));
  }

 private:
  std::shared_ptr<ServerCore> core_;
  std::shared_ptr<Connection> connection_;
  std::shared_ptr<Request> request_;
  Serial serial_;
};

}  // namespace

std::shared_ptr<Exchange> make_exchange(std::shared_ptr<ServerCore> core, std::shared_ptr<Connection> connection,
                                        std::shared_ptr<Request> request, Serial serial) {
  return std::make_shared<ExchangeHandle>(std::move(core), std::move(connection), std::move(request), serial);
}

Result<> write_upgrade_response(int fd, bool upgrade_requested, std::string_view content_type) {
  std::string head =
      upgrade_requested ? "HTTP/1.1 101 UPGRADED\r\nContent-Type: " : "HTTP/1.1 200 OK\r\nContent-Type: ";
  head += content_type;
  head += upgrade_requested ? "\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n" : "\r\n\r\n";
  return send_blocking(fd, head);
}

}  // namespace caisson::http
