// SPDX-License-Identifier: Apache-2.0
// What v1 and v2 have in common: limits, membership, the freezer, removal.
#include "sys/cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.h"
#include "base/log.h"
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

Result<> excuse_devices(Result<> done, bool rootless) {
  if (done || !rootless) return done;
  log_debug("device rules: %s, ignoring", done.error().message.c_str());
  return {};
}

Result<> check_memory_usage(const std::string& dir, const char* usage_file, const CgroupLimits& limits) {
  if (!limits.memory_check_before_update) return {};
  auto usage = read_number(dir, usage_file);
  if (!usage) return {};
  if (limits.memory_swap && *limits.memory_swap > 0 && static_cast<uint64_t>(*limits.memory_swap) <= *usage)
    return fail(ErrorKind::kConflict, "rejecting memory+swap limit %ld <= usage %lu",
                static_cast<long>(*limits.memory_swap), static_cast<unsigned long>(*usage));
  if (limits.memory && *limits.memory > 0 && static_cast<uint64_t>(*limits.memory) <= *usage)
    return fail(ErrorKind::kConflict, "rejecting memory limit %ld <= usage %lu", static_cast<long>(*limits.memory),
                static_cast<unsigned long>(*usage));
  return {};
}

std::string rdma_text(const RdmaLimit& limit) {
  std::string text = limit.device;
  if (limit.handles) text += format(" hca_handle=%u", *limit.handles);
  if (limit.objects) text += format(" hca_object=%u", *limit.objects);
  return text;
}

}  // namespace detail

namespace {

void sleep_ms(long ms) {
  timespec time{ms / 1000, ms % 1000 * 1000000};
  nanosleep(&time, nullptr);
}

Result<> remove_dir(const std::string& dir, int64_t deadline) {
  for (long wait = 1;; wait = std::min(wait * 2, 50L)) {
    if (rmdir(dir.c_str()) == 0 || errno == ENOENT) return {};
    if (errno != EBUSY && errno != ENOTEMPTY) return fail_errno("rmdir '%s'", dir.c_str());
    int err = errno;
    auto names = list_dir(dir);
    if (!names)
      return names.error().kind == ErrorKind::kNotFound ? Result<>() : std::unexpected(std::move(names).error());
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

Result<> write_limits(const CgroupPaths& paths, const CgroupLimits& limits, const LimitOptions& options, bool update) {
  if (limits == CgroupLimits{}) return {};
  if (!paths.v2) return detail::apply_v1(paths, limits, options.rootless);
  if (!paths.empty()) return detail::apply_v2(paths.dirs.front(), limits, options.rootless, update);
  CgroupLimits others = limits;
  others.devices.clear();
  if (options.rootless && others == CgroupLimits{}) return {};
  return fail(ErrorKind::kDenied, "limits need a cgroup, and there is no permission to make one");
}

const std::string& member_dir(const CgroupPaths& paths) {
  // Every hierarchy has every process; one that tools do not move tasks about in.
  for (auto name : {"pids", "memory", "freezer", "devices"})
    if (auto dir = paths.dir_of(name)) return *dir;
  return paths.dirs.front();
}

}  // namespace

Result<> apply_cgroup_limits(const CgroupPaths& paths, const CgroupLimits& limits, const LimitOptions& options) {
  return write_limits(paths, limits, options, false);
}

Result<> update_cgroup_limits(const CgroupPaths& paths, const CgroupLimits& limits, const LimitOptions& options) {
  return write_limits(paths, limits, options, true);
}

CgroupLimits complete_cgroup_limits(const CgroupPaths& paths, CgroupLimits limits) {
  if (limits.cpu_quota.has_value() != limits.cpu_period.has_value()) {
    std::string quota, period;
    if (paths.v2 && !paths.empty()) {
      auto fields = split(trim(read_file(paths.dirs.front() + "/cpu.max", 256).value_or("")), ' ');
      quota = fields.front() == "max" ? "-1" : fields.front();
      if (fields.size() > 1) period = fields[1];
    } else if (auto dir = paths.dir_of("cpu")) {
      quota = trim(read_file(*dir + "/cpu.cfs_quota_us", 64).value_or(""));
      period = trim(read_file(*dir + "/cpu.cfs_period_us", 64).value_or(""));
    }
    if (!limits.cpu_quota) limits.cpu_quota = parse_int(quota);
    if (!limits.cpu_period) limits.cpu_period = parse_uint(period);
  }
  if (paths.v2 && !paths.empty() && limits.memory_swap && !limits.memory)
    if (auto now = detail::read_number(paths.dirs.front(), "memory.max"))
      limits.memory = *now == UINT64_MAX ? -1 : static_cast<int64_t>(*now);
  return limits;
}

Result<std::vector<UniqueFd>> open_cgroup_join(const CgroupPaths& paths) {
  std::vector<UniqueFd> out;
  for (const auto& dir : paths.dirs)
    out.push_back(TRY(paths.v2 ? open_file(dir, O_PATH | O_DIRECTORY) : open_file(dir + "/tasks", O_WRONLY)));
  return out;
}

Result<std::string> cgroup_dir_of(std::string_view membership, const CgroupHierarchy& top, const std::string& within) {
  for (auto& line : split(membership, '\n')) {
    if (!line.starts_with("0::/")) continue;
    std::string dir = top.mount_point + detail::below_root(line.substr(3), top.root);
    // "/../x" is how the kernel shows a group outside of our own cgroup namespace.
    if ((dir == within || dir.starts_with(within + "/")) && dir.find("/..") == std::string::npos) return dir;
    return fail(ErrorKind::kNotFound, "the process is in cgroup %s, not below '%s'", quoted(line.substr(3)).c_str(),
                within.c_str());
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
  out.dirs = {TRY(cgroup_dir_of(membership, system.hierarchies.front(), within.dirs.front()))};
  return out;
}

Result<> freeze_cgroup(const CgroupPaths& paths, bool frozen) {
  if (paths.empty()) return fail(ErrorKind::kUnsupported, "the container has no cgroup that could be frozen");
  if (paths.v2) return detail::freeze_v2(paths.dirs.front(), frozen);
  auto dir = paths.dir_of("freezer");
  if (!dir) return fail(ErrorKind::kUnsupported, "no freezer cgroup on this host");
  return detail::freeze_v1(*dir, frozen);
}

Result<bool> cgroup_frozen(const CgroupPaths& paths) {
  if (paths.empty()) return false;
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
