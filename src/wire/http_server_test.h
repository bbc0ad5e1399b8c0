// SPDX-License-Identifier: Apache-2.0
// A server on a unix socket in a directory of its own and raw sockets to it, for tests.
#pragma once

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <string>
#include <thread>

#include "sys/unix_socket.h"
#include "wire/http_client.h"
#include "wire/http_server.h"

namespace caisson::http {

class TestServer {
 public:
  explicit TestServer(Router router, ServerLimits limits = {}) {
    char name[] = "/tmp/caisson-wire-XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/s";
    server_ = std::move(*Server::create(std::move(router), limits));
    (void)server_->add_listener(std::move(*sys::listen_unix(path_, SOCK_STREAM, 0600)));
    thread_ = std::thread([this] { server_->run(); });
  }
  explicit TestServer(Handler handler, ServerLimits limits = {})
      : TestServer(Router([handler](const Request&) { return RouteDecision{.handler = handler}; }), limits) {}
  ~TestServer() { stop(); }

  void stop() {
    if (!thread_.joinable()) return;
    server_->stop();
    thread_.join();
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }

  Server& server() { return *server_; }
  UniqueFd connect() { return std::move(*sys::connect_unix(path_, SOCK_STREAM)); }
  Client client() { return Client(std::move(*connect_unix_transport(path_)), "test"); }

 private:
  std::string directory_, path_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

inline void put(int fd, std::string_view text) {
  while (!text.empty()) {
    ssize_t sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    text.remove_prefix(static_cast<size_t>(sent));
  }
}

// Reads until `text` ends with `end`, or to the end of the connection; what came within five seconds.
inline std::string take_until(int fd, std::string_view end = {}) {
  std::string text;
  char buffer[4096];
  while (end.empty() || !text.ends_with(end)) {
    pollfd waiting{fd, POLLIN, 0};
    if (poll(&waiting, 1, 5000) <= 0) return text + "<timeout>";
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) break;
    text.append(buffer, static_cast<size_t>(got));
  }
  return text;
}

// One request on a connection of its own; the whole answer.
inline std::string talk(TestServer& server, std::string_view request) {
  UniqueFd fd = server.connect();
  put(fd.get(), request);
  shutdown(fd.get(), SHUT_WR);
  return take_until(fd.get());
}

}  // namespace caisson::http
