// SPDX-License-Identifier: Apache-2.0
// Shared by cgroup.cc, cgroup_v1.cc and cgroup_v2.cc only.
#pragma once

#include "sys/cgroup.h"

namespace caisson::sys::detail {

Result<> write_control(const std::string& dir, const std::string& file, const std::string& value);
// nullopt when the file is absent or no number; "max" is UINT64_MAX.
std::optional<uint64_t> read_number(const std::string& dir, const std::string& file);
// "key value" lines.
std::vector<std::pair<std::string, uint64_t>> read_pairs(const std::string& dir, const std::string& file);

Result<> apply_v1(const CgroupPaths& paths, const CgroupLimits& limits);
Result<> apply_v2(const std::string& dir, const CgroupLimits& limits);
CgroupStats stats_v1(const CgroupPaths& paths);
CgroupStats stats_v2(const std::string& dir);
Result<> freeze_v1(const std::string& dir, bool frozen);
Result<> freeze_v2(const std::string& dir, bool frozen);
// cpuset directories start empty and then take no task.
Result<> inherit_cpuset(const std::string& parent, const std::string& dir);

}  // namespace caisson::sys::detail
