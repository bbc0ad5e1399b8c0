// SPDX-License-Identifier: Apache-2.0
// Being told when a container runs out of memory: v1 an eventfd on memory.oom_control, v2 inotify on
// memory.events.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/cgroup.h"

namespace caisson::sys {

class OomWatch {
 public:
  // Readable (poll) when there is something for take().
  int fd() const { return fd_.get(); }

  struct Event {
    uint64_t ooms = 0;   // how often since the last time; 0: it was something else
    bool ended = false;  // the group is gone or, on v2, has no process any more: no further events
  };
  // Does not block; nothing to tell is an Event without anything.
  Result<Event> take();

 private:
  friend Result<OomWatch> watch_oom(const CgroupPaths&);
  UniqueFd fd_;
  UniqueFd control_;  // v1: oom_control has to stay open
  bool v2_ = false;
  std::string dir_;
  uint64_t kills_ = 0;
};

// kUnsupported where there is no memory controller.
Result<OomWatch> watch_oom(const CgroupPaths& paths);

}  // namespace caisson::sys
