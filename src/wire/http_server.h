// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 server for the engine API: one epoll thread parses and writes, a pool of workers runs the
// handlers, and a request that becomes a long stream costs no thread.
//
// A handler runs on a worker and may block. It answers through its Exchange in one of these ways:
//   reply()         one complete answer
//   defer           keep the shared_ptr and reply() later from any thread (wait, long polls)
//   start_stream()  headers now, chunks later from any thread, never blocking (events, logs -f, stats)
//   take_over()     own the socket: hijack for attach/exec, or blocking body/response for load, pull, push
// An Exchange that is dropped without an answer gives 500 with a JSON message. Replies and stream writes go
// to the socket at once from the calling thread; the loop only continues what the socket did not take.
// Workers have stacks of 256 KiB.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/event_loop.h"
#include "wire/http.h"

namespace caisson::http {

struct ServerLimits {
  size_t max_header_bytes = 64 << 10;  // 431 beyond
  size_t max_headers = 200;
  size_t max_body_bytes = 16 << 20;     // buffered bodies; 413 beyond
  size_t max_stream_backlog = 4 << 20;  // bytes queued on one stream before write() refuses
  int max_workers = 64;                 // grown on demand, shrunk after idle seconds
  int max_connections = 4096;
  int header_timeout_s = 60;  // slow request heads are dropped
};

struct PeerInfo {
  bool is_unix = false;
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string address;      // "@" for unix, else "ip:port"
  std::string common_name;  // of a TLS client's certificate
  bool read_only = false;   // came by a listener for reading only; whoever routes has to mind it
};

struct Request {
  std::string method;  // as sent, upper case
  std::string path;    // decoded once; always starts with '/'
  Query query;
  Headers headers;
  std::string body;  // whole body unless the route streams it
  PeerInfo peer;
};

// A stream whose headers have been sent (chunked, or to the end of the connection for HTTP/1.0).
// Any thread; never blocks.
class Stream {
 public:
  virtual ~Stream() = default;
  // Queues one chunk. False once the client is gone or the backlog limit is passed (the connection is
  // then dropped): the caller stops producing.
  virtual bool write(std::string_view data) = 0;
  virtual void end() = 0;
  virtual size_t backlog() const = 0;
  // Called on the loop thread each time the backlog has drained to nothing, for producers that pull
  // from a file: once soon after it is set if there is no backlog, and after every write from then on.
  // Must not block. Callbacks are let go when the stream ends, so they may hold the stream.
  virtual void on_drained(std::move_only_function<void()> callback) = 0;
  // Called on the loop thread, once, if the client goes away before end().
  virtual void on_closed(std::move_only_function<void()> callback) = 0;
};

// The socket of a request that a handler took over, in blocking mode. Closed on destruction. One thread
// may read while another writes. After the server's stop() reads end and writes fail.
class TakenConnection : public ByteSource, public ByteSink {
 public:
  virtual int fd() const = 0;
  // The raw socket and the bytes that were read from it behind the request head: hijacking.
  struct Raw {
    UniqueFd fd;
    std::string leftover;
  };
  virtual Raw release() = 0;
  // Request body (Content-Length or chunked decoded); also answers "Expect: 100-continue" first.
  Result<size_t> read(std::span<char> buffer) override = 0;
  // Status line and headers; then write() sends chunks, finish() ends them.
  // Chunked, or as it is where `headers` have a Content-Length.
  virtual Result<> begin_response(int status, const Headers& headers) = 0;
  Result<> write(std::string_view data) override = 0;
  virtual Result<> finish() = 0;
};

class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual Request& request() = 0;
  virtual void reply(int status, const Headers& headers, std::string body) = 0;
  virtual std::shared_ptr<Stream> start_stream(int status, const Headers& headers) = 0;
  // At most once, instead of the above. For routes with stream_body, or for hijacking.
  virtual std::unique_ptr<TakenConnection> take_over() = 0;
  // Called on the loop thread if the client closes before the answer was complete (deferred replies).
  virtual void on_closed(std::move_only_function<void()> callback) = 0;
};

using Handler = std::function<void(std::shared_ptr<Exchange>)>;

// Decides on the request head, before any body is read.
struct RouteDecision {
  Handler handler;           // empty: `error_status` with `error_body`
  bool stream_body = false;  // do not buffer the body: the handler will take_over() and read it
  bool on_loop = false;      // the handler never waits for anything: run it on the loop thread, which saves
                             // the two thread switches that make up most of a small request's cost
  int error_status = 404;
  std::string error_body;  // JSON; "" for Docker's `page not found`
};
// Runs on the loop thread: no blocking.
using Router = std::function<RouteDecision(const Request& head)>;

class Server {
 public:
  static Result<std::unique_ptr<Server>> create(Router router, ServerLimits limits = {});
  virtual ~Server() = default;
  // A listening socket (unix or TCP), non-blocking. Before or during run().
  virtual Result<> add_listener(UniqueFd listener, bool read_only = false) = 0;
  // A connection that somebody else accepted. Loop thread.
  virtual void adopt(UniqueFd socket, PeerInfo peer) = 0;
  // Every answer carries these (Server, Api-Version, Ostype...).
  virtual void set_common_headers(Headers headers) = 0;
  // Work that must run on the loop thread, and timers: the engine's other descriptors live there too.
  virtual sys::EventLoop& loop() = 0;
  virtual void post(std::move_only_function<void()> task) = 0;  // any thread
  // Until stop(). Then connections are closed and the workers joined: a handler that still runs is
  // waited for.
  virtual void run() = 0;
  virtual void stop() = 0;  // any thread, async-signal-unsafe
};

// "127.0.0.1:2375" or "[::1]:2375": a listening TCP socket, SO_REUSEADDR.
Result<UniqueFd> listen_tcp(const std::string& address);

// The answer that starts a hijacked connection, exact to what Docker's clients wait for: 101 UPGRADED if
// the request had `Upgrade`, else 200 and then raw bytes.
Result<> write_upgrade_response(int fd, bool upgrade_requested, std::string_view content_type);

}  // namespace caisson::http
