// SPDX-License-Identifier: Apache-2.0
#include "sys/cgroup_oom.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>

#include "base/text.h"
#include "sys/cgroup_internal.h"
#include "sys/files.h"

namespace caisson::sys {

namespace {

uint64_t kills_of(const std::string& dir) {
  for (auto& [key, value] : detail::read_pairs(dir, "memory.events"))
    if (key == "oom_kill") return value;
  return 0;
}

bool populated(const std::string& dir) {
  for (auto& [key, value] : detail::read_pairs(dir, "cgroup.events"))
    if (key == "populated") return value != 0;
  return false;
}

}  // namespace

Result<OomWatch> watch_oom(const CgroupPaths& paths) {
  OomWatch out;
  out.v2_ = paths.v2;
  if (paths.v2) {
    if (paths.empty()) return fail(ErrorKind::kUnsupported, "the container has no cgroup");
    out.dir_ = paths.dirs.front();
    out.fd_ = UniqueFd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (out.fd_.get() < 0) return fail_errno("inotify_init1");
    for (const char* file : {"memory.events", "cgroup.events"}) {
      std::string path = out.dir_ + "/" + file;
      if (inotify_add_watch(out.fd_.get(), path.c_str(), IN_MODIFY | IN_DELETE_SELF) < 0)
        return fail_errno("inotify_add_watch '%s'", path.c_str());
    }
    out.kills_ = kills_of(out.dir_);
    return out;
  }
  auto dir = paths.dir_of("memory");
  if (!dir) return fail(ErrorKind::kUnsupported, "no memory cgroup on this host");
  out.dir_ = *dir;
  out.control_ = TRY(open_file(*dir + "/memory.oom_control", O_RDONLY));
  out.fd_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (out.fd_.get() < 0) return fail_errno("eventfd");
  TRY(detail::write_control(*dir, "cgroup.event_control", format("%d %d", out.fd_.get(), out.control_.get())));
  return out;
}

Result<OomWatch::Event> OomWatch::take() {
  Event event;
  if (!v2_) {
    uint64_t count = 0;
    if (read(fd_.get(), &count, sizeof count) < 0) {
      if (errno == EAGAIN || errno == EINTR) return event;
      return fail_errno("read the oom eventfd");
    }
    // The kernel signals the group's removal the same way.
    event.ended = !path_exists(dir_ + "/cgroup.event_control");
    event.ooms = event.ended ? 0 : count;
    return event;
  }
  alignas(inotify_event) char buffer[4096];
  ssize_t got = read(fd_.get(), buffer, sizeof buffer);
  if (got < 0 && errno != EAGAIN && errno != EINTR) return fail_errno("read the oom inotify");
  if (got <= 0) return event;
  uint64_t kills = kills_of(dir_);
  if (kills > kills_) {
    event.ooms = kills - kills_;
    kills_ = kills;
  }
  event.ended = !populated(dir_);
  return event;
}

}  // namespace caisson::sys
