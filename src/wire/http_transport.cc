// SPDX-License-Identifier: Apache-2.0
// Plain byte transports: unix and TCP sockets in blocking mode; and the TCP listener.
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <memory>

#include "base/clock.h"
#include "base/text.h"
#include "sys/unix_socket.h"
#include "wire/http_client.h"
#include "wire/http_server.h"

namespace caisson::http {

namespace {

class SocketTransport : public Transport {
 public:
  explicit SocketTransport(UniqueFd fd) : fd_(std::move(fd)) {}
  int fd() const override { return fd_.get(); }
  UniqueFd release() override { return std::move(fd_); }

  Result<size_t> read(std::span<char> buffer) override {
    while (true) {
      ssize_t got = recv(fd_.get(), buffer.data(), buffer.size(), 0);
      if (got >= 0) return static_cast<size_t>(got);
      if (errno == EAGAIN) return fail(ErrorKind::kTimeout, "read: no data in time");  // SO_RCVTIMEO
      if (errno != EINTR) return fail_errno("read");
    }
  }

  Result<> write(std::string_view data) override {
    while (!data.empty()) {
      ssize_t sent = send(fd_.get(), data.data(), data.size(), MSG_NOSIGNAL);
      if (sent >= 0) {
        data.remove_prefix(static_cast<size_t>(sent));
      } else if (errno == EAGAIN) {
        return fail(ErrorKind::kTimeout, "write: the peer took no data in time");
      } else if (errno != EINTR) {
        return fail_errno("write");
      }
    }
    return {};
  }

 private:
  UniqueFd fd_;
};

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Result<Addresses> resolve(const std::string& host, const std::string& port, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  int status = getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found);
  if (status != 0)
    return fail(status == EAI_NONAME ? ErrorKind::kNotFound : ErrorKind::kUnavailable, "looking up '%s': %s",
                host.c_str(), gai_strerror(status));
  return Addresses(found, freeaddrinfo);
}

Result<UniqueFd> connect_one(const addrinfo& address, int timeout_ms) {
  UniqueFd fd(socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("socket");
  if (connect(fd.get(), address.ai_addr, address.ai_addrlen) < 0) {
    if (errno != EINPROGRESS) return fail_errno("connect");
    pollfd waiting{fd.get(), POLLOUT, 0};
    int64_t deadline = monotonic_ns() + int64_t{timeout_ms} * 1000000;
    int ready;
    do {
      int64_t left_ms = (deadline - monotonic_ns()) / 1000000;
      ready = poll(&waiting, 1, timeout_ms < 0 ? -1 : static_cast<int>(std::max<int64_t>(left_ms, 0)));
    } while (ready < 0 && errno == EINTR);
    if (ready < 0) return fail_errno("poll");
    if (ready == 0) return fail(ErrorKind::kTimeout, "connect: no answer in %d ms", timeout_ms);
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) < 0) return fail_errno("getsockopt");
    if (error) return fail_errno_of(error, "connect");
  }
  TRY(sys::set_nonblocking(fd.get(), false));
  int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  return fd;
}

}  // namespace

std::unique_ptr<Transport> adopt_transport(UniqueFd socket) {
  return std::make_unique<SocketTransport>(std::move(socket));
}

Result<std::unique_ptr<Transport>> connect_unix_transport(const std::string& path) {
  return adopt_transport(TRY(sys::connect_unix(path, SOCK_STREAM)));
}

Result<std::unique_ptr<Transport>> connect_tcp_transport(const std::string& host, uint16_t port, int timeout_ms) {
  Addresses addresses = TRY(resolve(host, std::to_string(port), 0));
  Result<UniqueFd> fd = fail(ErrorKind::kNotFound, "connect: '%s' has no address", host.c_str());
  for (const addrinfo* at = addresses.get(); at && !fd; at = at->ai_next) fd = connect_one(*at, timeout_ms);
  if (!fd) return with_context(std::move(fd).error(), format("'%s' port %d", host.c_str(), port));
  return adopt_transport(std::move(*fd));
}

Result<UniqueFd> listen_tcp(const std::string& address) {
  size_t colon = address.rfind(':');
  if (colon == address.npos || !parse_uint(address.substr(colon + 1)))
    return fail(ErrorKind::kInvalid, "listen address %s is not HOST:PORT", quoted(address).c_str());
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  Addresses found = TRY(resolve(host, address.substr(colon + 1), AI_PASSIVE));
  UniqueFd fd(socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("socket");
  int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd.get(), found->ai_addr, found->ai_addrlen) < 0) return fail_errno("bind '%s'", address.c_str());
  if (listen(fd.get(), 128) < 0) return fail_errno("listen '%s'", address.c_str());
  return fd;
}

}  // namespace caisson::http
