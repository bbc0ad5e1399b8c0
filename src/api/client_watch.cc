// SPDX-License-Identifier: Apache-2.0
#include "api/client_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace caisson::api {

ClientWatch::ClientWatch(int fd, std::atomic<bool>& gone) : stop_(eventfd(0, EFD_CLOEXEC)) {
  if (!stop_) return;  // out of descriptors: the next line that cannot be written tells as well
  thread_ = std::thread([fd, stop = stop_.get(), &gone] {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    bool is_unix = getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 && address.ss_family == AF_UNIX;
    // POLLHUP is always told: of a unix socket only its full close.
    pollfd both[] = {{fd, static_cast<short>(is_unix ? 0 : POLLRDHUP), 0}, {stop, POLLIN, 0}};
    while (poll(both, 2, -1) < 0 && errno == EINTR) {
    }
    if (both[0].revents) gone = true;
  });
}

ClientWatch::~ClientWatch() {
  if (!thread_.joinable()) return;
  uint64_t one = 1;
  (void)!write(stop_.get(), &one, sizeof one);
  thread_.join();
}

}  // namespace caisson::api
