// SPDX-License-Identifier: Apache-2.0
#include "sys/service_manager.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "sys/unix_socket.h"

namespace caisson::sys {

namespace {
constexpr int kFirst = 3;
constexpr int kMaxSockets = 64;
}  // namespace

Result<> notify_service_manager(std::string_view state) {
  const char* path = getenv("NOTIFY_SOCKET");
  if (!path || !*path) return {};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  size_t size = strlen(path);
  if ((path[0] != '/' && path[0] != '@') || size >= sizeof address.sun_path)
    return fail(ErrorKind::kInvalid, "NOTIFY_SOCKET %s is no address of a socket", quoted(path).c_str());
  memcpy(address.sun_path, path, size);
  if (path[0] == '@') address.sun_path[0] = 0;  // abstract
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("socket");
  auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
  if (sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address), length) < 0)
    return fail_errno("send to '%s'", path);
  return {};
}

Result<std::vector<UniqueFd>> take_activation_sockets() {
  const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
  auto for_whom = pid ? parse_int(pid) : std::nullopt;
  auto number = count ? parse_int(count) : std::nullopt;
  std::vector<UniqueFd> out;
  // Meant for a parent of ours perhaps.
  if (!for_whom || *for_whom != getpid() || !number) return out;
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) unsetenv(name);
  if (*number < 0 || *number > kMaxSockets)
    return fail(ErrorKind::kInvalid, "LISTEN_FDS is %ld", static_cast<long>(*number));
  for (int fd = kFirst; fd < kFirst + *number; ++fd) {
    int listening = 0;
    socklen_t size = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0)
      return fail_errno("descriptor %d of LISTEN_FDS", fd);
    if (!listening) return fail(ErrorKind::kInvalid, "descriptor %d of LISTEN_FDS does not listen", fd);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) return fail_errno("descriptor %d of LISTEN_FDS", fd);
    TRY(set_nonblocking(fd, true));
    out.emplace_back(fd);
  }
  return out;
}

}  // namespace caisson::sys
