// SPDX-License-Identifier: Apache-2.0
// What the parent can tell of a process before it exists, in better words than an errno of the child; and what
// it does for one that may not do it itself.
#pragma once

#include <sys/types.h>

#include "base/result.h"
#include "runtime/plan.h"

namespace caisson::runtime {

// Security modules, seccomp flags and actions that this kernel lacks: kUnsupported. Descriptors to hand down
// that are not open: kInvalid.
Result<> check_process(const ProcessPlan& process);

// Raises hard limits of `pid` so that it can set its own.
Result<> raise_limits(pid_t pid, const ProcessPlan& process);

// While it lives, the caller runs on the cpus of `mask` (native unsigned longs; empty: no change), and so do
// the children it bears.
class Affinity {
 public:
  static Result<Affinity> set(const std::string& mask);
  Affinity(Affinity&& other) noexcept : before_(std::move(other.before_)) { other.before_.clear(); }
  Affinity& operator=(Affinity&&) = delete;
  ~Affinity();

 private:
  Affinity() = default;
  std::string before_;
};

}  // namespace caisson::runtime
