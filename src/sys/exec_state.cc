// SPDX-License-Identifier: Apache-2.0
#include "sys/exec_state.h"

#include <sys/wait.h>

#include "base/text.h"
#include "sys/files.h"

namespace caisson::sys {

std::optional<int> died_before_exec(const Child& child) {
  constexpr uint64_t kForkedOnly = 0x40;  // PF_FORKNOEXEC of linux/sched.h
  siginfo_t info{};
  if (waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(child.pidfd.get()), &info, WEXITED | WNOHANG | WNOWAIT) <
          0 ||
      info.si_pid == 0 || info.si_code == CLD_EXITED)
    return std::nullopt;
  auto stat = read_file(format("/proc/%d/stat", child.pid), 4096);
  size_t at = stat ? stat->rfind(')') : std::string::npos;
  if (at == std::string::npos || at + 2 > stat->size()) return std::nullopt;
  auto fields = split(stat->substr(at + 2), ' ');
  if (fields.size() < 7 || !(parse_uint(fields[6]).value_or(0) & kForkedOnly)) return std::nullopt;
  return info.si_status;
}

}  // namespace caisson::sys
