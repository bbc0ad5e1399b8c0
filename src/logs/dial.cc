// SPDX-License-Identifier: Apache-2.0
// Connecting to syslog and the journal.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "base/text.h"
#include "logs/messages.h"

namespace caisson::logs {

namespace {

Result<UniqueFd> dial_unix(const std::string& path, int type) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fail(ErrorKind::kInvalid, "socket path '%s' is longer than 107 bytes", path.c_str());
  memcpy(address.sun_path, path.data(), path.size());
  UniqueFd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("socket");
  if (connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
    return fail_errno("connect '%s'", path.c_str());
  return socket;
}

// "127.0.0.1:514", "[::1]:514".
Result<UniqueFd> dial_inet(const std::string& text, int type) {
  auto bad = [&] { return fail(ErrorKind::kInvalid, "'%s' is not an address with a port", text.c_str()); };
  size_t colon = text.rfind(':');
  if (colon == std::string::npos) return bad();
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  auto port = parse_uint(std::string_view(text).substr(colon + 1));
  if (!port || *port == 0 || *port > 65535) return bad();
  sockaddr_storage address{};
  socklen_t size;
  auto& four = reinterpret_cast<sockaddr_in&>(address);
  auto& six = reinterpret_cast<sockaddr_in6&>(address);
  if (inet_pton(AF_INET, host.c_str(), &four.sin_addr) == 1) {
    four.sin_family = AF_INET;
    four.sin_port = htons(static_cast<uint16_t>(*port));
    size = sizeof four;
  } else if (inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) == 1) {
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(static_cast<uint16_t>(*port));
    size = sizeof six;
  } else {
    return bad();
  }
  UniqueFd socket(::socket(address.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("socket");
  int on = 1;
  if (type == SOCK_STREAM) setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  if (connect(socket.get(), reinterpret_cast<sockaddr*>(&address), size) < 0 && errno != EINPROGRESS)
    return fail_errno("connect '%s'", text.c_str());
  return socket;
}

}  // namespace

Result<UniqueFd> dial_syslog(const std::string& address) {
  if (address.empty()) {
    // syslog(3)'s own places, in the order that Docker tries them.
    for (const char* path : {"/dev/log", "/var/run/syslog", "/var/run/log"})
      for (int type : {SOCK_DGRAM, SOCK_STREAM})
        if (auto socket = dial_unix(path, type)) return socket;
    return fail(ErrorKind::kUnavailable, "Unix syslog delivery error");
  }
  size_t colon = address.find("://");
  if (colon == std::string::npos)
    return fail(ErrorKind::kInvalid, "syslog-address should be in form proto://address, got %s", address.c_str());
  std::string scheme = address.substr(0, colon), rest = address.substr(colon + 3);
  if (scheme == "unix") return dial_unix(rest, SOCK_STREAM);
  if (scheme == "unixgram") return dial_unix(rest, SOCK_DGRAM);
  if (scheme == "udp") return dial_inet(rest, SOCK_DGRAM);
  if (scheme == "tcp") return dial_inet(rest, SOCK_STREAM);
  return fail(ErrorKind::kUnsupported, "unsupported scheme: '%s'", scheme.c_str());
}

Result<UniqueFd> dial_journal(const std::string& path) {
  auto socket = dial_unix(path, SOCK_DGRAM);
  if (!socket)
    return fail(ErrorKind::kUnavailable, "journald is not enabled on this host: %s", socket.error().message.c_str());
  return socket;
}

SocketSink::Options sink_options(const LogConfig& config) {
  SocketSink::Options options;
  options.non_blocking = config.non_blocking;
  options.max_buffer = static_cast<size_t>(config.max_buffer);
  options.udp = config.address.starts_with("udp:");
  options.large_by_memfd = config.driver == "journald";
  return options;
}

}  // namespace caisson::logs
