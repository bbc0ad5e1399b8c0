// SPDX-License-Identifier: Apache-2.0
// What v1 and v2 have in common: detection, directories, membership, removal.
#include "sys/cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.h"
#include "base/rollback.h"
#include "base/text.h"
#include "sys/cgroup_internal.h"
#include "sys/files.h"

namespace caisson::sys {

namespace detail {

Result<> write_control(const std::string& dir, const std::string& file, const std::string& value) {
  // No O_CREAT: cgroupfs would answer EPERM for a file that this kernel does not have.
  auto fd = TRY(open_file(dir + "/" + file, O_WRONLY));
  if (write(fd.get(), value.data(), value.size()) < 0)
    return fail_errno("write '%s' to '%s/%s'", value.c_str(), dir.c_str(), file.c_str());
  return {};
}

std::optional<uint64_t> read_number(const std::string& dir, const std::string& file) {
  auto text = read_file(dir + "/" + file, 4096);
  if (!text) return std::nullopt;
  auto value = trim(*text);
  if (value == "max") return UINT64_MAX;
  return parse_uint(value);
}

std::vector<std::pair<std::string, uint64_t>> read_pairs(const std::string& dir, const std::string& file) {
  std::vector<std::pair<std::string, uint64_t>> out;
  auto text = read_file(dir + "/" + file, 1 << 20);
  if (!text) return out;
  for (auto& line : split(*text, '\n'))
    if (auto pair = split_once(line, ' '))
      if (auto value = parse_uint(pair->second)) out.emplace_back(pair->first, *value);
  return out;
}

}  // namespace detail

namespace {

void sleep_ms(long ms) {
  timespec time{ms / 1000, ms % 1000 * 1000000};
  nanosleep(&time, nullptr);
}

// Octal escapes of /proc/self/mountinfo.
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size())
      if (auto code = parse_octal(text.substr(i + 1, 3))) {
        out += static_cast<char>(*code);
        i += 3;
        continue;
      }
    out += text[i];
  }
  return out;
}

bool known_controller(std::string_view option) {
  static constexpr std::string_view kKnown[] = {"cpu",    "cpuacct", "cpuset",  "memory",   "devices",    "freezer", "blkio",
                                                "pids",   "hugetlb", "net_cls", "net_prio", "perf_event", "rdma",    "misc"};
  return option.starts_with("name=") || std::find(std::begin(kKnown), std::end(kKnown), option) != std::end(kKnown);
}

// An id or a path of the user's: no way out of the hierarchy.
Result<> check_path(std::string_view path) {
  if (path.empty() || path[0] != '/' || path.size() > 2048)
    return fail(ErrorKind::kInvalid, "cgroup path %s is not absolute", quoted(path).c_str());
  for (auto& part : split(path, '/'))
    if (part == "..") return fail(ErrorKind::kInvalid, "cgroup path %s has '..'", quoted(path).c_str());
  return {};
}

Result<> remove_dir(const std::string& dir, int64_t deadline) {
  for (long wait = 1;; wait = std::min(wait * 2, 50L)) {
    if (rmdir(dir.c_str()) == 0 || errno == ENOENT) return {};
    if (errno != EBUSY && errno != ENOTEMPTY) return fail_errno("rmdir '%s'", dir.c_str());
    int err = errno;
    auto names = list_dir(dir);
    if (!names) return names.error().kind == ErrorKind::kNotFound ? Result<>() : std::unexpected(std::move(names).error());
    bool nested = false;
    for (auto& name : *names) {
      std::string inner = dir + "/" + name;
      struct stat info {};
      if (lstat(inner.c_str(), &info) < 0 || !S_ISDIR(info.st_mode)) continue;
      nested = true;
      TRY(remove_dir(inner, deadline));
    }
    if (nested && rmdir(dir.c_str()) == 0) return {};
    if (monotonic_ns() > deadline) return fail_errno_of(err, "rmdir '%s'", dir.c_str());
    sleep_ms(wait);
  }
}

Result<> collect_pids(const std::string& dir, std::vector<pid_t>& out, int depth) {
  auto text = read_file(dir + "/cgroup.procs", 4 << 20);
  if (!text) return text.error().kind == ErrorKind::kNotFound ? Result<>() : std::unexpected(std::move(text).error());
  for (auto& line : split(*text, '\n'))
    if (auto pid = parse_int(line)) out.push_back(static_cast<pid_t>(*pid));
  struct stat info {};
  // cgroupfs counts sub-directories as links: most groups are leaves and need no listing.
  if (depth > 32 || stat(dir.c_str(), &info) < 0 || info.st_nlink <= 2) return {};
  auto names = list_dir(dir);
  if (!names) return {};
  for (auto& name : *names) {
    std::string inner = dir + "/" + name;
    if (lstat(inner.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) TRY(collect_pids(inner, out, depth + 1));
  }
  return {};
}

const std::string& member_dir(const CgroupPaths& paths) {
  // Every hierarchy has every process; one that tools do not move tasks about in.
  for (auto name : {"pids", "memory", "freezer", "devices"})
    if (auto dir = paths.dir_of(name)) return *dir;
  return paths.dirs.front();
}

}  // namespace

bool CgroupSystem::has(std::string_view controller) const {
  for (const auto& hierarchy : hierarchies)
    if (std::find(hierarchy.controllers.begin(), hierarchy.controllers.end(), controller) != hierarchy.controllers.end())
      return true;
  return false;
}

const std::string* CgroupPaths::dir_of(std::string_view controller) const {
  for (size_t i = 0; i < dirs.size() && i < controllers.size(); ++i)
    if (std::find(controllers[i].begin(), controllers[i].end(), controller) != controllers[i].end()) return &dirs[i];
  return nullptr;
}

CgroupSystem parse_cgroup_system(std::string_view mountinfo, std::string_view v2_controllers) {
  CgroupSystem v1, v2;
  v2.v2 = true;
  bool real_controllers = false;
  for (auto& line : split(mountinfo, '\n')) {
    size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    auto front = split(std::string_view(line).substr(0, dash), ' ');
    auto back = split(std::string_view(line).substr(dash + 3), ' ');
    if (front.size() < 6 || back.size() < 3) continue;
    if (back[0] == "cgroup2" && v2.hierarchies.empty()) {
      auto& hierarchy = v2.hierarchies.emplace_back();
      hierarchy.mount_point = unescape(front[4]);
      for (auto& name : split(trim(v2_controllers), ' '))
        if (!name.empty()) hierarchy.controllers.push_back(name);
    } else if (back[0] == "cgroup") {
      CgroupHierarchy hierarchy;
      hierarchy.mount_point = unescape(front[4]);
      for (auto& option : split(back[2], ','))
        if (known_controller(option)) hierarchy.controllers.push_back(option);
      // A hierarchy mounted twice counts once.
      if (hierarchy.controllers.empty() || v1.has(hierarchy.controllers.front())) continue;
      real_controllers |= !hierarchy.controllers.front().starts_with("name=");
      v1.hierarchies.push_back(std::move(hierarchy));
    }
  }
  return real_controllers || v2.hierarchies.empty() ? v1 : v2;
}

Result<CgroupSystem> detect_cgroups() {
  auto mountinfo = TRY(read_file("/proc/self/mountinfo", 64 << 20));
  auto system = parse_cgroup_system(mountinfo, "");
  if (!system.v2) return system;
  auto& top = system.hierarchies.front();
  auto controllers = TRY(read_file(top.mount_point + "/cgroup.controllers", 4096));
  return parse_cgroup_system(mountinfo, controllers);
}

CgroupPaths cgroup_paths(const CgroupSystem& system, std::string_view path) {
  CgroupPaths out;
  out.v2 = system.v2;
  std::string clean;
  for (auto& part : split(path, '/'))
    if (!part.empty() && part != ".") clean += "/" + part;
  for (const auto& hierarchy : system.hierarchies) {
    out.dirs.push_back(hierarchy.mount_point + clean);
    out.controllers.push_back(hierarchy.controllers);
  }
  return out;
}

Result<CgroupPaths> create_cgroup(const CgroupSystem& system, std::string_view path) {
  TRY(check_path(path));
  auto paths = cgroup_paths(system, path);
  Rollback rollback;
  for (size_t i = 0; i < paths.dirs.size(); ++i) {
    const std::string& dir = paths.dirs[i];
    const std::string& top = system.hierarchies[i].mount_point;
    const auto& controllers = paths.controllers[i];
    bool cpuset = !system.v2 && std::find(controllers.begin(), controllers.end(), "cpuset") != controllers.end();
    // The usual case first: the parent is there from the container before.
    bool made = !system.v2 && !cpuset && mkdir(dir.c_str(), 0755) == 0;
    for (size_t at = top.size(); !made && at < dir.size();) {
      size_t next = std::min(dir.find('/', at + 1), dir.size());
      std::string parent = dir.substr(0, at), step = dir.substr(0, next);
      if (system.v2) {
        // One by one: a controller that cannot be enabled must not keep the others from it.
        for (const auto& name : controllers) (void)detail::write_control(parent, "cgroup.subtree_control", "+" + name);
      }
      bool last = next == dir.size();
      if (mkdir(step.c_str(), 0755) < 0) {
        if (errno != EEXIST || last) return fail_errno("mkdir '%s'", step.c_str());
      } else if (last) {
        made = true;
      }
      if (cpuset) TRY(detail::inherit_cpuset(parent, step));
      at = next;
    }
    if (made) rollback.add([dir] { rmdir(dir.c_str()); });
  }
  rollback.commit();
  return paths;
}

Result<> apply_cgroup_limits(const CgroupPaths& paths, const CgroupLimits& limits) {
  if (limits == CgroupLimits{}) return {};
  if (paths.v2) return detail::apply_v2(paths.dirs.front(), limits);
  return detail::apply_v1(paths, limits);
}

Result<std::vector<UniqueFd>> open_cgroup_join(const CgroupPaths& paths) {
  std::vector<UniqueFd> out;
  for (const auto& dir : paths.dirs)
    out.push_back(TRY(paths.v2 ? open_file(dir, O_PATH | O_DIRECTORY) : open_file(dir + "/tasks", O_WRONLY)));
  return out;
}

Result<std::string> cgroup_dir_of(std::string_view membership, const std::string& mount_point, const std::string& within) {
  for (auto& line : split(membership, '\n')) {
    if (!line.starts_with("0::/")) continue;
    std::string dir = mount_point + line.substr(3);
    // "/../x" is how the kernel shows a group outside of our own cgroup namespace.
    if ((dir == within || dir.starts_with(within + "/")) && dir.find("/..") == std::string::npos) return dir;
    return fail(ErrorKind::kNotFound, "the process is in cgroup %s, not below '%s'", quoted(line.substr(3)).c_str(), within.c_str());
  }
  return fail(ErrorKind::kNotFound, "the process has no cgroup");
}

Result<CgroupPaths> cgroup_of_process(const CgroupPaths& within, int pidfd) {
  if (!within.v2 || within.empty()) return fail(ErrorKind::kUnsupported, "no v2 cgroup");
  auto info = TRY(read_file(format("/proc/self/fdinfo/%d", pidfd), 4096));
  std::optional<int64_t> pid;
  for (auto& line : split(info, '\n'))
    if (line.starts_with("Pid:")) pid = parse_int(trim(std::string_view(line).substr(4)));
  if (!pid || *pid <= 0) return fail(ErrorKind::kNotFound, "the process is gone");
  auto membership = TRY(read_file(format("/proc/%ld/cgroup", static_cast<long>(*pid)), 64 << 10));
  auto system = TRY(detect_cgroups());
  if (!system.v2) return fail(ErrorKind::kUnsupported, "no v2 cgroup");
  CgroupPaths out = within;
  out.dirs = {TRY(cgroup_dir_of(membership, system.hierarchies.front().mount_point, within.dirs.front()))};
  return out;
}

Result<> freeze_cgroup(const CgroupPaths& paths, bool frozen) {
  if (paths.v2) return detail::freeze_v2(paths.dirs.front(), frozen);
  auto dir = paths.dir_of("freezer");
  if (!dir) return fail(ErrorKind::kUnsupported, "no freezer cgroup on this host");
  return detail::freeze_v1(*dir, frozen);
}

Result<bool> cgroup_frozen(const CgroupPaths& paths) {
  if (paths.v2) return TRY(read_file(paths.dirs.front() + "/cgroup.freeze", 16)).starts_with('1');
  auto dir = paths.dir_of("freezer");
  if (!dir) return false;
  return !TRY(read_file(*dir + "/freezer.state", 64)).starts_with("THAWED");
}

Result<std::vector<pid_t>> cgroup_pids(const CgroupPaths& paths) {
  std::vector<pid_t> out;
  if (!paths.empty()) TRY(collect_pids(member_dir(paths), out, 0));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Result<> kill_cgroup(const CgroupPaths& paths) {
  if (paths.empty()) return {};
  if (paths.v2 && detail::write_control(paths.dirs.front(), "cgroup.kill", "1")) return {};
  // Frozen, nobody forks away between the listing and the signal; SIGKILL waits for the thaw.
  bool frozen = freeze_cgroup(paths, true).has_value();
  auto pids = cgroup_pids(paths);
  if (pids)
    for (pid_t pid : *pids) ::kill(pid, SIGKILL);
  if (frozen) TRY(freeze_cgroup(paths, false));
  if (!pids) return std::unexpected(std::move(pids).error());
  return {};
}

Result<> remove_cgroup(const CgroupPaths& paths) {
  int64_t deadline = monotonic_ns() + 1000000000;
  Result<> first;
  for (const auto& dir : paths.dirs)
    if (auto removed = remove_dir(dir, deadline); !removed && first) first = std::move(removed);
  return first;
}

Result<CgroupStats> read_cgroup_stats(const CgroupPaths& paths) {
  if (paths.empty()) return CgroupStats{};
  if (!path_exists(paths.dirs.front())) return fail(ErrorKind::kNotFound, "no cgroup '%s'", paths.dirs.front().c_str());
  return paths.v2 ? detail::stats_v2(paths.dirs.front()) : detail::stats_v1(paths);
}

Result<uint64_t> read_oom_kills(const CgroupPaths& paths) {
  auto dir = paths.v2 ? (paths.empty() ? nullptr : &paths.dirs.front()) : paths.dir_of("memory");
  if (!dir) return 0;
  for (auto& [key, value] : detail::read_pairs(*dir, paths.v2 ? "memory.events" : "memory.oom_control"))
    if (key == "oom_kill") return value;
  return 0;
}

}  // namespace caisson::sys
