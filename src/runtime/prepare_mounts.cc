// SPDX-License-Identifier: Apache-2.0
// The parent's half of the mounts: sources are cloned here, with the caller's rights and view of the host.
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/text.h"
#include "runtime/child_root.h"
#include "runtime/prepare.h"
#include "sys/files.h"
#include "sys/mount.h"
#include "sys/private_root.h"
#include "sys/process.h"
#include "sys/user_namespace.h"

namespace caisson::runtime {

namespace {

// fsconfig(2) takes no longer strings.
constexpr size_t kLongestOption = 255;

// At commas, but not within double quotes (`context="a,b"`), which are taken off.
std::vector<PreparedOption> split_options(std::string_view data) {
  std::vector<PreparedOption> out;
  std::string part;
  bool within = false;
  for (size_t at = 0; at <= data.size(); ++at) {
    if (at < data.size() && (within || data[at] != ',')) {
      if (data[at] == '"')
        within = !within;
      else
        part += data[at];
      continue;
    }
    if (auto pair = split_once(part, '='))
      out.push_back({pair->first, pair->second, true});
    else if (!part.empty())
      out.push_back({part, "", false});
    part.clear();
  }
  return out;
}

const PreparedOption* find_option(const std::vector<PreparedOption>& options, std::string_view key) {
  for (const auto& option : options)
    if (option.key == key) return &option;
  return nullptr;
}

// Replacing these files of /proc is harmless and usual (lxcfs); anything else there is not.
bool may_cover(const std::string& path) {
  static constexpr std::array<std::string_view, 10> kAllowed = {
      "/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo",  "/proc/stat",    "/proc/swaps",
      "/proc/uptime",  "/proc/loadavg",   "/proc/slabinfo", "/proc/net/dev", "/proc/sys/kernel/ns_last_pid"};
  return std::find(kAllowed.begin(), kAllowed.end(), path) != kAllowed.end();
}

bool has_own(const Plan& plan, uint64_t type) {
  uint64_t own = plan.create_namespaces;
  for (const auto& join : plan.join_namespaces) own |= join.type;
  return own & type;
}

// The mounts' maps as namespaces, each made once.
class MappingNamespaces {
 public:
  explicit MappingNamespaces(const Plan& plan) : plan_(plan) {}

  Result<> map(const Mount& mount, int fd) {
    if (plan_.rootless)
      return fail(ErrorKind::kInvalid, "mount at '%s': id-mapped mounts are not supported for rootless containers",
                  mount.destination.c_str());
    int space = TRY_CTX(find(mount), "mount at '" + mount.destination + "'");
    auto done = sys::map_mount_ids(fd, space, mount.id_mapped_recursive);
    if (done) return {};
    struct statfs fs {};
    fstatfs(fd, &fs);
    int err = done.error().err;
    bool unable = err == EINVAL || err == EOPNOTSUPP;
    return std::unexpected(
        Error{unable ? ErrorKind::kUnsupported : done.error().kind, err,
              format("mount at '%s': id-map '%s'%s: %s", mount.destination.c_str(), mount.source.c_str(),
                     unable ? format(" (file system type 0x%lx)", static_cast<unsigned long>(fs.f_type)).c_str() : "",
                     errno_text(err).c_str())});
  }

 private:
  Result<int> find(const Mount& mount) {
    const auto& uids = mount.uid_mappings.empty() ? plan_.uid_mappings : mount.uid_mappings;
    const auto& gids = mount.gid_mappings.empty() ? plan_.gid_mappings : mount.gid_mappings;
    std::string key = lines(uids) + "|" + lines(gids);
    UniqueFd& space = spaces_[key];
    if (space) return space.get();
    if (uids.empty()) {
      for (const auto& join : plan_.join_namespaces)
        if (join.type == CLONE_NEWUSER) {
          space = TRY(sys::open_file(join.path, O_RDONLY));
          return space.get();
        }
      return fail(ErrorKind::kInvalid, "id-mapped mounts must have both uid and gid mappings specified");
    }
    space = TRY(sys::make_user_namespace(lines(uids), lines(gids)));
    return space.get();
  }

  static std::string lines(const std::vector<IdMapping>& mappings) {
    std::string out;
    for (const auto& m : mappings) out += format("%u %u %u\n", m.container_id, m.host_id, m.size);
    return out;
  }

  const Plan& plan_;
  std::map<std::string, UniqueFd> spaces_;
};

Result<UniqueFd> clone_source(const Mount& mount) {
  if (mount.beneath.empty()) {
    auto clone = sys::clone_mount(AT_FDCWD, mount.source, mount.recursive);
    if (clone || clone.error().err != EINVAL) return clone;
    // "/proc/PID/root/dev/shm" is a mount of another namespace, which is to be had from within only.
    auto parts = split(mount.source, '/');
    auto pid = parts.size() > 4 && parts[1] == "proc" && parts[3] == "root" ? parse_uint(parts[2]) : std::nullopt;
    if (!pid) return clone;
    auto process = TRY(sys::open_pidfd(static_cast<pid_t>(*pid)));
    return sys::clone_mount_of(process.get(), "/" + join({parts.begin() + 4, parts.end()}, "/"));
  }
  auto root = TRY(sys::open_file(mount.beneath, O_PATH | O_DIRECTORY));
  auto source = TRY(sys::open_in_root(root.get(), mount.source, O_PATH));
  return sys::clone_mount(source.get(), "", mount.recursive);
}

Result<> prepare_bind(const Plan& plan, MappingNamespaces& namespaces, PreparedMount& prepared) {
  const Mount& mount = *prepared.mount;
  if (mount.id_mapped && plan.rootless) return namespaces.map(mount, -1);
  // An ordinary user has the right only inside: the child does it.
  if (plan.rootless) return {};
  prepared.source = TRY_CTX(clone_source(mount), "mount at '" + mount.destination + "'");
  if (mount.id_mapped) TRY(namespaces.map(mount, prepared.source.get()));
  return {};
}

bool is_mapped(const std::vector<IdMapping>& mappings, uint64_t id) {
  return std::any_of(mappings.begin(), mappings.end(),
                     [id](const auto& m) { return id >= m.container_id && id - m.container_id < m.size; });
}

// The kernel says no more than EINVAL to these.
Result<> check_options(const Plan& plan, const PreparedMount& prepared) {
  const Mount& mount = *prepared.mount;
  if (plan.create_namespaces & CLONE_NEWUSER)
    for (auto [key, mappings] : {std::pair{"uid", &plan.uid_mappings}, {"gid", &plan.gid_mappings}}) {
      auto* option = find_option(prepared.options, key);
      auto id = option ? parse_uint(option->value) : std::nullopt;
      if (id && !is_mapped(*mappings, *id))
        return fail(ErrorKind::kInvalid, "mount at '%s': %s %s is not mapped in the container's user namespace",
                    mount.destination.c_str(), key, option->value.c_str());
    }
  if (auto* label = find_option(prepared.options, "context"); label && !sys::path_exists("/sys/fs/selinux/enforce"))
    return fail(ErrorKind::kUnsupported, "mount at '%s': mount label '%s': selinux is disabled or not supported",
                mount.destination.c_str(), label->value.c_str());
  return {};
}

// What mount(2) has as flags and fsconfig(2) as options.
uint64_t super_flag(std::string_view option) {
  if (option == "sync") return MS_SYNCHRONOUS;
  if (option == "dirsync") return MS_DIRSYNC;
  if (option == "lazytime") return MS_LAZYTIME;
  if (option == "mand") return MS_MANDLOCK;
  return 0;
}

Result<> use_mount_call(PreparedMount& prepared) {
  const Mount& mount = *prepared.mount;
  prepared.by_mount_call = true;
  for (const auto& option : prepared.options) {
    if (uint64_t flag = super_flag(option.key)) {
      prepared.call_flags |= flag;
      continue;
    }
    bool quote = option.value.find(',') != std::string::npos;
    prepared.call_data += (prepared.call_data.empty() ? "" : ",") + option.key;
    if (option.has_value) prepared.call_data += (quote ? "=\"" : "=") + option.value + (quote ? "\"" : "");
  }
  if (prepared.call_data.size() >= static_cast<size_t>(sysconf(_SC_PAGESIZE)))
    return fail(ErrorKind::kInvalid, "mount at '%s': options longer than a page", mount.destination.c_str());
  return {};
}

Result<> prepare_file_system(const Plan& plan, PreparedMount& prepared) {
  const Mount& mount = *prepared.mount;
  prepared.options = split_options(mount.data);
  TRY(check_options(plan, prepared));
  bool remount = mount.type == "remount";
  bool has_long = std::any_of(prepared.options.begin(), prepared.options.end(), [](const auto& option) {
    return option.value.size() > kLongestOption || option.key.size() > kLongestOption;
  });
  if (remount || has_long) return use_mount_call(prepared);
  if (mount.type == "tmpfs") {
    prepared.has_mode = find_option(prepared.options, "mode");
    prepared.has_owner = find_option(prepared.options, "uid") || find_option(prepared.options, "gid");
  } else if (mount.type == "sysfs") {
    // Refused to who does not own the network namespace, or sees the host's only in part.
    prepared.instead = "/sys";
  } else if (mount.type == "mqueue") {
    prepared.instead = "/dev/mqueue";
  } else if (mount.type == "proc") {
    if (!has_own(plan, CLONE_NEWPID)) prepared.instead = "/proc";
  } else if ((mount.set_attributes & MOUNT_ATTR_RDONLY) && mount.type != "devpts") {
    // A device that cannot be written to wants to be told so.
    prepared.options.push_back({"ro", "", false});
  }
  return {};
}

Result<> prepare_cgroup(const Plan& plan, PreparedMount& prepared, const sys::CgroupSystem& system,
                        const sys::CgroupPaths& cgroup) {
  const Mount& mount = *prepared.mount;
  prepared.cgroup2 = system.v2 || mount.type == "cgroup2";
  if (prepared.cgroup2) {
    if (!system.v2 || system.hierarchies.empty()) return {};
    prepared.instead = system.hierarchies.front().mount_point;
    if (has_own(plan, CLONE_NEWCGROUP) && !cgroup.dirs.empty()) prepared.instead = cgroup.dirs.front();
    // A further mount by the namespace the tree belongs to would take the host's options (nsdelegate) away.
    if (!has_own(plan, CLONE_NEWCGROUP)) prepared.instead_at_once = true;
    return {};
  }
  prepared.options = split_options("mode=755");
  for (const auto& hierarchy : system.hierarchies) {
    if (hierarchy.controllers.empty()) continue;
    PreparedMount::Hierarchy view;
    view.name = hierarchy.mount_point.substr(hierarchy.mount_point.rfind('/') + 1);
    const std::string* own = cgroup.dir_of(hierarchy.controllers.front());
    view.path = own ? *own : hierarchy.mount_point;
    // A bind of the own directory: inside a cgroup namespace it cannot be told from a mount of the
    // hierarchy, and it costs a fraction.
    if (!plan.rootless)
      view.mount = TRY_CTX(sys::clone_mount(AT_FDCWD, view.path, false), "mount at '" + mount.destination + "'");
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
  MappingNamespaces namespaces(plan);
  for (const auto& mount : plan.mounts) {
    PreparedMount& prepared = out.emplace_back();
    prepared.mount = &mount;
    prepared.may_cover_proc = may_cover(mount.destination) || (mount.type == "proc" && mount.destination == "/proc");
    if (mount.destination.empty() || mount.destination[0] != '/')
      return fail(ErrorKind::kInvalid, "mount destination %s is not an absolute path",
                  quoted(mount.destination).c_str());
    switch (mount.kind) {
      case Mount::Kind::kBind:
        if (mount.type != "remount") TRY(prepare_bind(plan, namespaces, prepared));
        break;
      case Mount::Kind::kFilesystem: TRY(prepare_file_system(plan, prepared)); break;
      case Mount::Kind::kCgroup: TRY(prepare_cgroup(plan, prepared, system, cgroup)); break;
    }
  }
  return out;
}

}  // namespace caisson::runtime
