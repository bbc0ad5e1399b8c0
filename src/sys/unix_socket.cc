// SPDX-License-Identifier: Apache-2.0
#include "sys/unix_socket.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include "base/text.h"
#include "sys/files.h"

namespace caisson::sys {

namespace {
constexpr size_t kMaxFds = 16;

struct Address {
  sockaddr_un value{};
  socklen_t size = 0;
  UniqueFd directory;  // keeps a /proc/self/fd/N path valid
};

Result<Address> make_address(const std::string& path) {
  Address address;
  address.value.sun_family = AF_UNIX;
  std::string usable = path;
  if (usable.size() >= sizeof address.value.sun_path) {
    size_t slash = path.rfind('/');
    if (slash == std::string::npos) return fail_errno_of(ENAMETOOLONG, "socket '%s'", path.c_str());
    address.directory = TRY(open_file(path.substr(0, slash), O_PATH | O_DIRECTORY));
    usable = format("/proc/self/fd/%d", address.directory.get()) + path.substr(slash);
    if (usable.size() >= sizeof address.value.sun_path) return fail_errno_of(ENAMETOOLONG, "socket '%s'", path.c_str());
  }
  memcpy(address.value.sun_path, usable.c_str(), usable.size() + 1);
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + usable.size() + 1);
  return address;
}
}  // namespace

Result<UniqueFd> listen_unix(const std::string& path, int type, mode_t mode, int backlog) {
  Address address = TRY(make_address(path));
  UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("socket");
  struct stat st {};
  if (lstat(path.c_str(), &st) == 0) {
    if (!S_ISSOCK(st.st_mode)) return fail(ErrorKind::kExists, "listen on '%s': a file is in the way", path.c_str());
    TRY(remove_file(path));
  }
  // fchmod before bind gives the file its mode from birth (unix(7): bind uses the inode's mode & ~umask).
  if (fchmod(fd.get(), mode) < 0) return fail_errno("fchmod socket '%s'", path.c_str());
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address.value), address.size) < 0)
    return fail_errno("bind '%s'", path.c_str());
  if (chmod(path.c_str(), mode) < 0) return fail_errno("chmod '%s'", path.c_str());
  if (listen(fd.get(), backlog) < 0) return fail_errno("listen '%s'", path.c_str());
  return fd;
}

Result<UniqueFd> connect_unix(const std::string& path, int type) {
  Address address = TRY(make_address(path));
  UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket");
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address.value), address.size) < 0)
    return fail_errno("connect '%s'", path.c_str());
  return fd;
}

UniqueFd inherited_connection(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_SEQPACKET) return {};
  return UniqueFd(fd);
}

Result<UniqueFd> accept_connection(int listener) {
  int fd;
  do {
    fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return fail_errno("accept");
  return UniqueFd(fd);
}

Result<SocketPair> socket_pair(int type) {
  int fds[2];
  if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0) return fail_errno("socketpair");
  return SocketPair{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Result<> send_message(int socket, std::string_view data, const std::vector<int>& fds) {
  if (fds.size() > kMaxFds) return fail(ErrorKind::kInternal, "sendmsg: %zu descriptors", fds.size());
  iovec part{const_cast<char*>(data.data()), data.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)] = {};
  if (!fds.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * fds.size());
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return fail_errno("sendmsg");
  if (static_cast<size_t>(sent) != data.size()) return fail(ErrorKind::kIo, "sendmsg: only %zd bytes taken", sent);
  return {};
}

Result<Message> receive_message(int socket, size_t limit) {
  Message message;
  message.data.resize(limit);
  iovec part{message.data.data(), limit};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t got;
  do {
    got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return fail_errno("recvmsg");
  for (cmsghdr* part_header = CMSG_FIRSTHDR(&header); part_header; part_header = CMSG_NXTHDR(&header, part_header)) {
    if (part_header->cmsg_level != SOL_SOCKET || part_header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (part_header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(part_header) + i * sizeof(int), sizeof fd);
      message.fds.emplace_back(fd);
    }
  }
  if (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
    return fail(ErrorKind::kExhausted, "recvmsg: message larger than %zu bytes", limit);
  message.data.resize(static_cast<size_t>(got));
  return message;
}

Result<> wait_readable(int fd, int timeout_ms) {
  pollfd entry{fd, POLLIN, 0};
  int ready;
  do {
    ready = poll(&entry, 1, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) return fail_errno("poll");
  if (ready == 0) return fail(ErrorKind::kTimeout, "no answer within %d ms", timeout_ms);
  return {};
}

Result<PeerCredentials> peer_credentials(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0) return fail_errno("getsockopt SO_PEERCRED");
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

Result<> set_nonblocking(int fd, bool on) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return fail_errno("fcntl F_GETFL");
  if (fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0) return fail_errno("fcntl F_SETFL");
  return {};
}

bool peer_has_unread_bytes(int socket) {
  int family = 0, bytes = 0;
  socklen_t size = sizeof family;
  if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0 || family != AF_UNIX) return false;
  return ioctl(socket, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

}  // namespace caisson::sys
