// SPDX-License-Identifier: Apache-2.0
#include "sys/drop_privileges.h"

#include <grp.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace caisson::sys {

namespace {
constexpr uid_t kNobody = 65534;
}

Result<> drop_privileges() {
  if (geteuid() == 0) {
    // Nothing run here could regain a capability anyway; an empty bounding set makes that visible.
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
      if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) return fail_errno("prctl PR_CAPBSET_DROP %d", capability);
    if (setgroups(0, nullptr) < 0) return fail_errno("setgroups");
    if (setresgid(kNobody, kNobody, kNobody) < 0) return fail_errno("setresgid");
    // Leaving uid 0 clears the permitted, effective and ambient sets.
    if (setresuid(kNobody, kNobody, kNobody) < 0) return fail_errno("setresuid");
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return fail_errno("prctl PR_SET_NO_NEW_PRIVS");
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return fail_errno("prctl PR_SET_DUMPABLE");
  return {};
}

}  // namespace caisson::sys
