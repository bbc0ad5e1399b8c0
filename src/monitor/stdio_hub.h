// SPDX-License-Identifier: Apache-2.0
// Standard streams of one process (the container's first one, or an exec): reads its pipes or terminal,
// logs, fans out to any number of attached clients, and carries their input back. Knows nothing of
// processes. Policy for slow clients: docs/decisions/0004-monitor-protocol.md.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "logs/container_log.h"
#include "monitor/byte_queue.h"
#include "monitor/client.h"
#include "monitor/detach_keys.h"
#include "monitor/poller.h"

namespace caisson::monitor {

inline constexpr size_t kIoBuffer = 64 << 10;
inline constexpr size_t kClientBound = 1 << 20;           // bytes queued for one client
inline constexpr int64_t kStallLimitNs = 10'000'000'000;  // without progress, then it is dropped
inline constexpr int64_t kCloseLimitNs = 2'000'000'000;   // for the last bytes of an ending client
inline constexpr int64_t kNever = INT64_MAX;

// Our ends, non-blocking; either `terminal` or the others, each of which may be empty.
struct HubFds {
  UniqueFd in, out, err, terminal;
};

class StdioHub {
 public:
  struct Options {
    bool close_stdin = false;  // at the end of a client's input (without a terminal)
    logs::LogWriter* log = nullptr;
  };
  // `buffer` has kIoBuffer bytes and is shared by all hubs of the process.
  StdioHub(Poller& poller, char* buffer, Options options);
  ~StdioHub();

  void set_options(Options options) { options_ = options; }
  Result<> start(HubFds fds);
  Result<> add_client(Attachment&& attachment);
  Result<> resize(uint16_t rows, uint16_t columns);  // kConflict without a terminal

  // The process is gone: reads what its pipes still hold, slow clients or not.
  void drain();
  bool drained() const;  // nothing can come any more
  // Everybody gets what is queued for him and is closed, within kCloseLimitNs.
  void close_clients();
  bool clients_gone() const { return clients_.empty(); }

  int64_t next_deadline() const;  // monotonic
  void on_time(int64_t now);
  // True if much data has passed since the last call: buffers are worth giving back.
  bool take_busy();
  // Clients that typed their detach keys since the last call.
  int take_detached() { return std::exchange(detached_, 0); }

 private:
  struct Source;
  struct Input;
  struct Client;

  void on_source(Source& source, uint32_t events);
  void on_input(uint32_t events);
  void on_client(Client& client, uint32_t events);

  // What a read attempt found.
  enum class ReadEnd { kData, kEmpty, kClosed };
  ReadEnd read_once(Source& source);
  void close_source(Source& source);
  void forward(logs::StreamId stream, std::string_view data);
  void send(Client& client, logs::StreamId stream, std::string_view data);
  void flush_output(Client& client);
  void lose_output(Client& client);
  void read_input(Client& client);
  void take_input(Client& client, std::string_view data);
  void discard_input(Client& client);
  void input_ended(Client& client);
  void feed(std::string_view data);
  void flush_input();
  void close_input();
  void finish_client(Client& client);
  void shut_client(Client& client);
  int input_fd() const;
  bool terminal() const;
  bool over_bound(const Client& client) const;
  void settle();  // removes dead clients and sets what is polled for; ends every entry point

  Poller& poller_;
  char* buffer_;
  int detached_ = 0;
  Options options_;
  std::unique_ptr<Source> sources_[2];
  std::unique_ptr<Input> input_;
  ByteQueue input_queue_;
  bool input_closing_ = false;  // once the queue has been written
  bool draining_ = false;
  int64_t terminal_retry_at_ = kNever;
  size_t passed_ = 0;
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace caisson::monitor
