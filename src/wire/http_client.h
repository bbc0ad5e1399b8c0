// SPDX-License-Identifier: Apache-2.0
// Blocking HTTP/1.1 client over unix sockets, TCP and TLS. One Client is one connection, kept alive
// between requests, used by one thread. No redirects, no proxies, no auth: callers do those.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "wire/http.h"

namespace caisson::http {

struct ClientResponse {
  int status = 0;
  Headers headers;
  std::string body;  // filled by request(), empty from open()
};

struct ClientRequest {
  std::string method = "GET";
  std::string target = "/";  // path and query, already percent-coded
  Headers headers;           // Host, Content-Length, Connection are added
  std::string body;
  ByteSource* body_stream = nullptr;  // instead of body: sent chunked, or with body_size if >= 0
  int64_t body_size = -1;
};

// A byte transport: a plain socket or TLS over one. Tests give a socketpair.
class Transport : public ByteSource, public ByteSink {
 public:
  virtual int fd() const = 0;
  virtual UniqueFd release() = 0;  // plain sockets only; an empty fd for TLS
  // What TLS agreed on to be spoken inside ("h2", "http/1.1"), "" where nothing was.
  virtual std::string protocol() const { return ""; }
};
Result<std::unique_ptr<Transport>> connect_unix_transport(const std::string& path);
Result<std::unique_ptr<Transport>> connect_tcp_transport(const std::string& host, uint16_t port, int timeout_ms);
std::unique_ptr<Transport> adopt_transport(UniqueFd socket);
// TLS is in wire/tls.h, so that programs without it do not link OpenSSL.

class Client {
 public:
  Client(std::unique_ptr<Transport> transport, std::string host_header);
  ~Client();
  // Sends and reads the whole answer. kExhausted if the body passes `max_body`.
  Result<ClientResponse> request(const ClientRequest& request, size_t max_body = 64 << 20);
  // Sends and reads the head; the body is then read() until 0.
  Result<ClientResponse> open(const ClientRequest& request);
  Result<size_t> read(std::span<char> buffer);
  // After a 101 or a hijacked 200: the raw socket and bytes already read from it.
  struct Hijacked {
    UniqueFd fd;
    std::string leftover;
  };
  Hijacked hijack();
  bool reusable() const;  // keep-alive and body fully read
  // For callers that poll: the socket (-1 after hijack), and whether read() has bytes at hand already.
  int fd() const;
  bool has_pending() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace caisson::http
