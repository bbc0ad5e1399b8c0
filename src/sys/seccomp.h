// SPDX-License-Identifier: Apache-2.0
// Names of system calls, actions and architectures -> what seccomp_filter works with. libseccomp serves as
// the table of numbers; its own code generator is not used (ten times slower, several times longer programs).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/seccomp_filter.h"

namespace caisson::sys {

// "SCMP_ACT_ERRNO" with its errno -> SECCOMP_RET_*; nullopt for unknown names.
std::optional<uint32_t> seccomp_action(std::string_view name, uint32_t errno_value);
std::optional<SeccompCompare> seccomp_compare(std::string_view name);  // "SCMP_CMP_EQ"

struct NamedSeccompRule {
  std::string call;
  SeccompCase what;
};
struct NamedSeccompProgram {
  std::vector<std::string> arches;  // "SCMP_ARCH_X86_64"; the native one is always in
  uint32_t default_action = 0;
  std::vector<NamedSeccompRule> rules;
};
// Names that no table knows are skipped. kUnsupported for an architecture this build cannot run.
Result<SeccompProgram> resolve_seccomp(const NamedSeccompProgram& program);

// SECCOMP_FILTER_FLAG_* for "SECCOMP_FILTER_FLAG_LOG"...
std::optional<uint32_t> seccomp_flag(std::string_view name);

}  // namespace caisson::sys
