// SPDX-License-Identifier: Apache-2.0
// The list of system calls that a program of the engine allows itself (seccomp(2)), for good: whatever is not on it
// fails with EPERM. For programs that read strangers' bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"

namespace caisson::sys {

class CallFilter {
 public:
  static Result<CallFilter> create();

  // By number, as SCMP_SYS of libseccomp gives it. A call this architecture does not have is no gap.
  void allow(std::span<const int> calls);
  // Where the argument's bits under `mask` are `value`. Several for one call: any of them.
  Result<> allow_argument(int call, unsigned argument, uint64_t value, uint64_t mask = ~uint64_t{0});
  Result<> refuse(int call, int err);  // with another errno
  Result<> load();                     // for the calling thread and those it makes

 private:
  struct Release {
    void operator()(void* filter) const;
  };
  explicit CallFilter(void* filter) : filter_(filter) {}
  std::unique_ptr<void, Release> filter_;
};

}  // namespace caisson::sys
