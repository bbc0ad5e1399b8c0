// SPDX-License-Identifier: Apache-2.0
#include "sys/call_filter.h"

#include <errno.h>
#include <seccomp.h>

namespace caisson::sys {

namespace {
Result<> checked(int status, int call) {
  if (status >= 0) return {};
  return fail_errno_of(-status, "seccomp rule of system call %d", call);
}
}  // namespace

void CallFilter::Release::operator()(void* filter) const { seccomp_release(filter); }

Result<CallFilter> CallFilter::create() {
  void* filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  if (!filter) return fail(ErrorKind::kExhausted, "seccomp_init: no memory");
  return CallFilter(filter);
}

void CallFilter::allow(std::span<const int> calls) {
  for (int call : calls) (void)seccomp_rule_add(filter_.get(), SCMP_ACT_ALLOW, call, 0);
}

Result<> CallFilter::allow_argument(int call, unsigned argument, uint64_t value, uint64_t mask) {
  scmp_arg_cmp condition{argument, SCMP_CMP_MASKED_EQ, mask, value};
  return checked(seccomp_rule_add_array(filter_.get(), SCMP_ACT_ALLOW, call, 1, &condition), call);
}

Result<> CallFilter::refuse(int call, int err) {
  return checked(seccomp_rule_add(filter_.get(), SCMP_ACT_ERRNO(static_cast<unsigned>(err)), call, 0), call);
}

Result<> CallFilter::load() {
  if (int status = seccomp_load(filter_.get()); status < 0) return fail_errno_of(-status, "seccomp_load");
  return {};
}

}  // namespace caisson::sys
