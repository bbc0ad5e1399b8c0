// SPDX-License-Identifier: Apache-2.0
// Shared by cgroup.cc, cgroup_v1.cc and cgroup_v2.cc only.
#pragma once

#include "sys/cgroup.h"

namespace caisson::sys::detail {

// `path` of the whole hierarchy as seen below a mount of its part `root`, "/" for the mount itself; empty
// when it lies outside.
std::string below_root(std::string_view path, std::string_view root);

Result<> write_control(const std::string& dir, const std::string& file, const std::string& value);
// nullopt when the file is absent or no number; "max" is UINT64_MAX.
std::optional<uint64_t> read_number(const std::string& dir, const std::string& file);
// "key value" lines.
std::vector<std::pair<std::string, uint64_t>> read_pairs(const std::string& dir, const std::string& file);

// Writes device rules: a failure that `rootless` excuses is logged.
Result<> excuse_devices(Result<> done, bool rootless);
// memory_check_before_update; `usage_file` counts what is in use.
Result<> check_memory_usage(const std::string& dir, const char* usage_file, const CgroupLimits& limits);

// `update`: limits that are not given are read from the group.
Result<> apply_v1(const CgroupPaths& paths, const CgroupLimits& limits, bool rootless);
Result<> apply_v2(const std::string& dir, const CgroupLimits& limits, bool rootless, bool update);
std::string rdma_text(const RdmaLimit& limit);
CgroupStats stats_v1(const CgroupPaths& paths);
CgroupStats stats_v2(const std::string& dir);
Result<> freeze_v1(const std::string& dir, bool frozen);
Result<> freeze_v2(const std::string& dir, bool frozen);
// cpuset directories start empty and then take no task.
Result<> inherit_cpuset(const std::string& parent, const std::string& dir);

}  // namespace caisson::sys::detail
