// SPDX-License-Identifier: Apache-2.0
// The parent's half of the mounts: sources are cloned here, with the caller's rights and view of the host.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "runtime/prepare.h"
#include "sys/mount.h"

namespace caisson::runtime {

namespace {

std::vector<PreparedOption> split_options(const std::string& data) {
  std::vector<PreparedOption> out;
  if (data.empty()) return out;
  for (auto& part : split(data, ',')) {
    if (part.empty()) continue;
    if (auto pair = split_once(part, '='))
      out.push_back({pair->first, pair->second, true});
    else
      out.push_back({part, "", false});
  }
  return out;
}

// Replacing these files of /proc is harmless and usual (lxcfs); anything else there is not.
bool may_cover(const std::string& path) {
  static constexpr std::array<std::string_view, 10> kAllowed = {
      "/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo",  "/proc/stat",    "/proc/swaps",
      "/proc/uptime",  "/proc/loadavg",   "/proc/slabinfo", "/proc/net/dev", "/proc/sys/kernel/ns_last_pid"};
  return std::find(kAllowed.begin(), kAllowed.end(), path) != kAllowed.end();
}

Result<> prepare_bind(PreparedMount& prepared) {
  const Mount& mount = *prepared.mount;
  prepared.source = TRY_CTX(sys::clone_mount(AT_FDCWD, mount.source, mount.recursive), "mount source");
  struct stat info {};
  struct statfs fs {};
  if (fstat(prepared.source.get(), &info) < 0 || fstatfs(prepared.source.get(), &fs) < 0)
    return fail_errno("stat '%s'", mount.source.c_str());
  prepared.source_is_directory = S_ISDIR(info.st_mode);
  // The host's own /proc may stand at /proc: what is shared already.
  if (fs.f_type == PROC_SUPER_MAGIC && mount.destination == "/proc") prepared.may_cover_proc = true;
  return {};
}

Result<> prepare_cgroup(PreparedMount& prepared, const sys::CgroupSystem& system, const sys::CgroupPaths& cgroup) {
  prepared.cgroup2 = system.v2;
  if (system.v2) return {};
  prepared.options = split_options("mode=755");
  for (const auto& hierarchy : system.hierarchies) {
    if (hierarchy.controllers.empty()) continue;
    PreparedMount::Hierarchy view;
    view.name = hierarchy.mount_point.substr(hierarchy.mount_point.rfind('/') + 1);
    const std::string* own = cgroup.dir_of(hierarchy.controllers.front());
    // A bind of the own directory: inside a cgroup namespace it cannot be told from a mount of the
    // hierarchy, and it costs a fraction.
    view.mount = TRY(sys::clone_mount(AT_FDCWD, own ? *own : hierarchy.mount_point, false));
    if (hierarchy.controllers.size() > 1) view.links = hierarchy.controllers;
    prepared.hierarchies.push_back(std::move(view));
  }
  return {};
}

}  // namespace

Result<std::vector<PreparedMount>> prepare_mounts(const Plan& plan, const sys::CgroupSystem& system,
                                                  const sys::CgroupPaths& cgroup) {
  std::vector<PreparedMount> out;
  out.reserve(plan.mounts.size());
  for (const auto& mount : plan.mounts) {
    PreparedMount& prepared = out.emplace_back();
    prepared.mount = &mount;
    prepared.may_cover_proc = may_cover(mount.destination) || mount.type == "proc";
    if (mount.destination.empty() || mount.destination[0] != '/')
      return fail(ErrorKind::kInvalid, "mount destination %s is not an absolute path",
                  quoted(mount.destination).c_str());
    switch (mount.kind) {
      case Mount::Kind::kBind: TRY(prepare_bind(prepared)); break;
      case Mount::Kind::kFilesystem: prepared.options = split_options(mount.data); break;
      case Mount::Kind::kCgroup: TRY(prepare_cgroup(prepared, system, cgroup)); break;
    }
  }
  return out;
}

}  // namespace caisson::runtime
