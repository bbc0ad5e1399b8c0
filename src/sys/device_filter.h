// SPDX-License-Identifier: Apache-2.0
// Device access control on cgroup v2: device rules compiled to a BPF_PROG_TYPE_CGROUP_DEVICE program.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/cgroup.h"

struct bpf_insn;

namespace caisson::sys {

// The instructions, 8 bytes each as struct bpf_insn; pure. The last matching rule decides, no match
// denies. A rule that names several accesses is split, so that "deny rw" after "allow rwm" leaves mknod.
std::vector<uint64_t> compile_device_filter(const std::vector<DeviceRule>& rules);
Result<UniqueFd> load_device_filter(const std::vector<DeviceRule>& rules);
// Replaces a filter attached before.
Result<> attach_device_filter(int program, int cgroup);

}  // namespace caisson::sys
