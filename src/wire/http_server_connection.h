// SPDX-License-Identifier: Apache-2.0
// One connection of the server: reads requests one after the other and queues the bytes of answers.
// Internal to http_server*. The loop thread reads; any thread may answer; mutex_ guards everything.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "wire/http_parser.h"
#include "wire/http_server_core.h"

namespace caisson::http {

// Names one request of a connection: what comes late for an earlier one is ignored.
using Serial = uint64_t;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Task = std::move_only_function<void()>;

  Connection(std::shared_ptr<ServerCore> core, UniqueFd fd, PeerInfo peer);

  // Loop thread.
  Result<> start();
  void on_event(uint32_t events);
  void close_now();
  void on_sweep(int64_t now);
  bool has_deadline();

  // Any thread.
  void reply(Serial serial, int status, const Headers& headers, std::string body);
  void drop(Serial serial);  // the exchange is gone: 500 if there was no answer
  void start_stream(Serial serial, int status, const Headers& headers);
  bool write_stream(Serial serial, std::string_view data);
  void end_stream(Serial serial);
  size_t backlog(Serial serial);
  void on_drained(Serial serial, Task callback);
  void on_closed(Serial serial, Task callback);

  struct Taken {
    UniqueFd fd;  // blocking; none if the client is gone or the request was answered
    std::string unsent;
    std::string input;
    Framing framing = Framing::kNone;
    uint64_t left = 0;
    bool expect_continue = false;
    bool is_head = false;
    int minor_version = 1;
  };
  Taken take(Serial serial);

 private:
  enum class State : uint8_t { kHead, kBody, kBusy, kDraining, kTaken, kClosed };
  // Callbacks that left the connection; run or destroyed only after the lock is released.
  struct Outbox {
    std::vector<Task> run, destroy;
    ~Outbox() {
      for (Task& task : run) task();
    }
  };

  // All of these with the lock held.
  std::string_view pending() const { return std::string_view(input_).substr(input_at_); }
  void use_input(size_t count);
  void read_input(Outbox& outbox);
  void process(Outbox& outbox);
  bool process_head(Outbox& outbox);
  bool process_body(Outbox& outbox);
  void dispatch(Outbox& outbox);
  void refuse(int status, std::string_view message, Outbox& outbox);
  void busy_event(Outbox& outbox);
  void discard_input(Outbox& outbox);
  void answer(int status, const Headers& headers, std::string_view body, Outbox& outbox);
  void push(std::initializer_list<std::string_view> parts);  // up to 4
  void flush();
  void finish_answer(Outbox& outbox);
  void next_request();
  void close_locked(Outbox& outbox);
  void post_close();
  void arm(uint32_t events);
  void set_deadline(int seconds);
  bool current(Serial serial) const { return serial == serial_ && state_ == State::kBusy; }

  const std::shared_ptr<ServerCore> core_;
  const PeerInfo peer_;
  std::mutex mutex_;
  UniqueFd fd_;
  State state_ = State::kHead;
  uint32_t armed_ = 0;
  Serial serial_ = 1;
  int64_t deadline_ns_ = 0;  // 0 for none

  std::string input_;  // bytes before input_at_ are used
  size_t input_at_ = 0;
  size_t searched_ = 0;  // find_head_end's memory

  std::shared_ptr<Request> request_;  // while its body is read
  Handler handler_;
  ChunkedDecoder decoder_;
  uint64_t body_left_ = 0;
  Framing framing_ = Framing::kNone;
  int minor_version_ = 1;
  bool keep_alive_ = true, is_head_ = false, expect_continue_ = false, on_loop_ = false;

  std::string output_;  // bytes before output_at_ are sent
  size_t output_at_ = 0;
  bool answered_ = false, streaming_ = false, chunked_ = false, finished_ = false;
  bool body_unread_ = false;    // the answer leaves request bytes behind: drain before closing
  bool resume_posted_ = false;  // what is in input_ comes before what the socket says
  bool peer_gone_ = false, broken_ = false, drained_posted_ = false, in_drained_ = false;
  Task drained_;
  std::vector<Task> closed_;
};

std::shared_ptr<Exchange> make_exchange(std::shared_ptr<ServerCore> core, std::shared_ptr<Connection> connection,
                                        std::shared_ptr<Request> request, Serial serial);

}  // namespace caisson::http
