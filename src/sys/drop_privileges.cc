// SPDX-License-Identifier: Apache-2.0
#include "sys/drop_privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace caisson::sys {

namespace {
constexpr uid_t kNobody = 65534;

Result<> set_only(int capability) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};
  data[capability / 32].permitted = data[capability / 32].effective = 1u << (capability % 32);
  if (syscall(SYS_capset, &header, data) < 0) return fail_errno("capset %d", capability);
  return {};
}
}  // namespace

Result<> drop_privileges(std::optional<int> keep) {
  if (geteuid() == 0) {
    // Nothing run here could regain a capability anyway; an empty bounding set makes that visible.
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
      if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) return fail_errno("prctl PR_CAPBSET_DROP %d", capability);
    if (setgroups(0, nullptr) < 0) return fail_errno("setgroups");
    if (setresgid(kNobody, kNobody, kNobody) < 0) return fail_errno("setresgid");
    if (keep && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) return fail_errno("prctl PR_SET_KEEPCAPS");
    // Leaving uid 0 clears the permitted (but for that), effective and ambient sets.
    if (setresuid(kNobody, kNobody, kNobody) < 0) return fail_errno("setresuid");
    if (keep) TRY(set_only(*keep));
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return fail_errno("prctl PR_SET_NO_NEW_PRIVS");
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return fail_errno("prctl PR_SET_DUMPABLE");
  return {};
}

Result<> limit_memory(uint64_t bytes) {
  rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) < 0) return fail_errno("setrlimit RLIMIT_CORE");
#ifdef __SANITIZE_ADDRESS__
  (void)bytes;
#else
  rlimit memory{bytes, bytes};
  if (setrlimit(RLIMIT_AS, &memory) < 0) return fail_errno("setrlimit RLIMIT_AS");
#endif
  return {};
}

}  // namespace caisson::sys
