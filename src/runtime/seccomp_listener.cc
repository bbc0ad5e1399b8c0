// SPDX-License-Identifier: Apache-2.0
#include "runtime/seccomp_listener.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "spec/oci_runtime.h"
#include "sys/process.h"
#include "sys/unix_socket.h"

namespace caisson::runtime {

namespace {

constexpr int kWaitMs = 10000;  // for a filter that is about to be loaded, and for the agent

Result<UniqueFd> take_descriptor(int child_pidfd, int number) {
  for (int waited = 0; waited < kWaitMs; ++waited) {
    auto fd = sys::descriptor_of(child_pidfd, number);
    if (fd || fd.error().err != EBADF) return fd;
    pollfd ended{child_pidfd, POLLIN, 0};
    if (poll(&ended, 1, 1) > 0) return UniqueFd();
  }
  return fail(ErrorKind::kTimeout, "seccomp listener: the filter was not loaded in time");
}

Result<> send_with_descriptor(int socket, const std::string& text, int fd) {
  size_t sent = 0;
  while (sent < text.size()) {
    iovec part{const_cast<char*>(text.data()) + sent, text.size() - sent};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (sent == 0) {
      header.msg_control = control;
      header.msg_controllen = sizeof control;
      cmsghdr* attached = CMSG_FIRSTHDR(&header);
      attached->cmsg_level = SOL_SOCKET;
      attached->cmsg_type = SCM_RIGHTS;
      attached->cmsg_len = CMSG_LEN(sizeof fd);
      memcpy(CMSG_DATA(attached), &fd, sizeof fd);
    }
    ssize_t got = sendmsg(socket, &header, MSG_NOSIGNAL);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("send the seccomp descriptor");
    sent += static_cast<size_t>(got);
  }
  return {};
}

}  // namespace

std::string listener_message(const ListenerTarget& target, pid_t pid) {
  spec::OciContainerProcessState out;
  if (!target.state.oci_version.empty()) out.oci_version = target.state.oci_version;
  out.fds = {"seccompFd"};
  out.pid = pid;
  out.metadata = target.metadata;
  out.state.oci_version = out.oci_version;
  out.state.id = target.state.id;
  out.state.status = target.status;
  if (pid > 0) out.state.pid = pid;
  out.state.bundle = target.state.bundle;
  for (const auto& [key, value] : target.state.annotations) out.state.annotations.emplace(key, value);
  return spec::to_json(out);
}

Result<> hand_over_listener(int child_pidfd, int number, const ListenerTarget& target, pid_t pid) {
  if (target.path.empty())
    return fail(ErrorKind::kInvalid, "seccomp: a filter with SCMP_ACT_NOTIFY needs listenerPath");
  auto fd = TRY_CTX(take_descriptor(child_pidfd, number), "seccomp listener");
  if (!fd) return {};
  auto socket = TRY_CTX(sys::connect_unix(target.path, SOCK_STREAM), "seccomp listener");
  timeval limit{kWaitMs / 1000, 0};
  if (setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
    return fail_errno("setsockopt SO_SNDTIMEO");
  return send_with_descriptor(socket.get(), listener_message(target, pid), fd.get());
}

}  // namespace caisson::runtime
