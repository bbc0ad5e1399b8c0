// SPDX-License-Identifier: Apache-2.0
// Making a container's group: the directories of every hierarchy, groups that are there already, and
// hierarchies that an ordinary user may not write to.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "sys/cgroup_internal.h"
#include "sys/files.h"

namespace caisson::sys {

namespace {

// An id or a path of the user's: no way out of the hierarchy.
Result<> check_path(std::string_view path) {
  if (path.empty() || path.size() > 2048 || path.find('\0') != std::string_view::npos)
    return fail(ErrorKind::kInvalid, "cgroup path %s is empty, too long or has a zero byte",
                quoted(path.substr(0, 64)).c_str());
  for (auto& part : split(path, '/'))
    if (part == "..") return fail(ErrorKind::kInvalid, "cgroup path %s has '..'", quoted(path).c_str());
  return {};
}

bool refused(const Error& error) { return error.err == EACCES || error.err == EPERM || error.err == EROFS; }

// For the groups below `parent`. Without asking first, every start would write to every level.
void enable_controllers(const std::string& parent, const std::vector<std::string>& controllers) {
  const char* file = "cgroup.subtree_control";
  auto text = read_file(parent + "/" + file, 4096);
  if (!text) return;
  auto enabled = split(trim(*text), ' ');
  std::string all;
  std::vector<std::string> missing;
  for (const auto& name : controllers)
    if (std::find(enabled.begin(), enabled.end(), name) == enabled.end()) {
      missing.push_back("+" + name);
      all += (all.empty() ? "+" : " +") + name;
    }
  if (missing.empty() || detail::write_control(parent, file, all)) return;
  // One by one: a controller that cannot be enabled must not keep the others from it. A limit for one
  // that is missing then is refused by name.
  for (const auto& word : missing)
    if (auto done = detail::write_control(parent, file, word); !done)
      log_debug("%s, ignoring", done.error().message.c_str());
}

// Whether the last directory was made.
Result<bool> make_group(const CgroupSystem& system, const std::string& top, const std::string& dir,
                        const std::vector<std::string>& controllers, bool may_exist) {
  bool cpuset = !system.v2 && std::find(controllers.begin(), controllers.end(), "cpuset") != controllers.end();
  // The usual case first: the parent is there from the container before.
  if (!system.v2 && !cpuset && mkdir(dir.c_str(), 0755) == 0) return true;
  bool made = false;
  for (size_t at = top.size(); at < dir.size();) {
    size_t next = std::min(dir.find('/', at + 1), dir.size());
    std::string parent = dir.substr(0, at), step = dir.substr(0, next);
    if (system.v2) enable_controllers(parent, controllers);
    bool last = next == dir.size();
    if (mkdir(step.c_str(), 0755) == 0) {
      made = last;
    } else {
      // Where we may not write, mkdir says so before it says that the directory is there.
      int err = errno;
      bool exists = err == EEXIST || path_exists(step);
      if (!exists || (last && !may_exist)) return fail_errno_of(exists ? EEXIST : err, "mkdir '%s'", step.c_str());
    }
    if (cpuset) TRY(detail::inherit_cpuset(parent, step));
    at = next;
  }
  return made;
}

Result<> check_unused(const CgroupPaths& paths) {
  auto pids = TRY(cgroup_pids(paths));
  if (!pids.empty())
    return fail(ErrorKind::kConflict, "container's cgroup is not empty: %zu process(es) found", pids.size());
  auto frozen = cgroup_frozen(paths);
  if (frozen && *frozen) return fail(ErrorKind::kConflict, "container's cgroup unexpectedly frozen");
  return {};
}

}  // namespace

Result<CgroupPaths> create_cgroup(const CgroupSystem& system, std::string_view path, const CgroupCreation& how) {
  TRY(check_path(path));
  auto wanted = cgroup_paths(system, path);
  bool may_exist = how.if_there != CgroupCreation::IfThere::kFail;
  CgroupPaths out;
  out.v2 = wanted.v2;
  Rollback rollback;
  bool there = false;
  for (size_t i = 0; i < wanted.dirs.size(); ++i) {
    const std::string& dir = wanted.dirs[i];
    const auto& controllers = wanted.controllers[i];
    auto made = make_group(system, system.hierarchies[i].mount_point, dir, controllers, may_exist);
    if (!made) {
      if (!how.leave_out_denied || !refused(made.error())) return std::unexpected(std::move(made).error());
      log_debug("%s, ignoring", made.error().message.c_str());
      out.left_out.insert(out.left_out.end(), controllers.begin(), controllers.end());
      continue;
    }
    if (*made)
      rollback.add([dir] { rmdir(dir.c_str()); });
    else
      there = true;
    out.dirs.push_back(dir);
    out.controllers.push_back(controllers);
  }
  if (there && how.if_there == CgroupCreation::IfThere::kUseEmpty) TRY(check_unused(out));
  rollback.commit();
  return out;
}

}  // namespace caisson::sys
