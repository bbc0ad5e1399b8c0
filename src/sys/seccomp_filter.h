// SPDX-License-Identifier: Apache-2.0
// Code generator for seccomp filters: system call numbers and argument conditions in, classic BPF out.
// Neighbouring numbers with one outcome are merged into ranges and the ranges form a balanced search
// tree, which makes programs a few hundred instructions long: what a start pays for is their loading.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace caisson::sys {

enum class SeccompCompare : uint8_t { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kMaskedEqual };

struct SeccompCondition {
  uint32_t argument = 0;  // 0..5
  SeccompCompare compare = SeccompCompare::kEqual;
  uint64_t value = 0;      // kMaskedEqual: the mask
  uint64_t value_two = 0;  // kMaskedEqual: what the masked argument must be
  bool operator==(const SeccompCondition&) const = default;
};

// All conditions hold: `action` (SECCOMP_RET_* with its data).
struct SeccompCase {
  std::vector<SeccompCondition> conditions;
  uint32_t action = 0;
  bool operator==(const SeccompCase&) const = default;
};

struct SeccompArch {
  uint32_t audit_arch = 0;                             // AUDIT_ARCH_*
  uint64_t narrow_from = UINT64_MAX;                   // of numbers from here on only 32 bits of an argument count
  std::map<uint32_t, std::vector<SeccompCase>> calls;  // the first case that holds decides
  // Numbers from `second` on, up to the end of their numbering space that starts at `first`, are newer
  // than the profile: ENOSYS. One entry per space (x86-64 has that of x32 at 0x40000000); 0: not known.
  std::vector<std::pair<uint32_t, uint32_t>> newer_from;
  // Numbers from here on, but for the last one, which is no call at all, belong to an architecture that is not
  // in the profile. 0: there are none.
  uint32_t foreign_from = 0;
};

struct SeccompProgram {
  std::vector<SeccompArch> arches;
  uint32_t default_action = 0;
  uint32_t other_arch_action = 0;
};

// Array of struct sock_filter. kExhausted when it grows beyond what the kernel takes.
Result<std::string> generate_seccomp(const SeccompProgram& program);

// What the filter would answer; for tests and for checking user profiles.
uint32_t run_seccomp(const std::string& filter, uint32_t audit_arch, uint32_t number, const uint64_t (&arguments)[6]);

}  // namespace caisson::sys
