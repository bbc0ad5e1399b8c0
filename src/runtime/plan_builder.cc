// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan_builder.h"

#include <sched.h>
#include <sys/personality.h>
#include <sys/stat.h>

#include <linux/mount.h>

#include <algorithm>

#include "base/text.h"
#include "runtime/default_spec.h"

namespace caisson::runtime {

namespace {

struct NamespaceType {
  const char* name;
  uint64_t flag;
};
constexpr NamespaceType kNamespaces[] = {
    {"pid", CLONE_NEWPID},   {"network", CLONE_NEWNET}, {"mount", CLONE_NEWNS},       {"ipc", CLONE_NEWIPC},
    {"uts", CLONE_NEWUTS},   {"user", CLONE_NEWUSER},   {"cgroup", CLONE_NEWCGROUP},  {"time", 0x80 /* CLONE_NEWTIME */},
};

bool has_parent_step(std::string_view path) {
  for (auto& part : split(path, '/'))
    if (part == "..") return true;
  return false;
}

// Absolute, without ".", ".." and empty parts; nullopt when it is not absolute.
std::optional<std::string> clean_path(std::string_view path) {
  if (path.empty() || path[0] != '/' || path.find('\0') != std::string_view::npos) return std::nullopt;
  std::string out;
  for (auto& part : split(path, '/')) {
    if (part == "..") out.resize(out.empty() ? 0 : out.rfind('/'));
    else if (!part.empty() && part != ".") out += "/" + part;
  }
  return out.empty() ? "/" : out;
}

Result<> add_namespaces(const spec::OciLinux& in, Plan& plan) {
  uint64_t seen = 0;
  for (const auto& entry : in.namespaces) {
    auto type = std::find_if(std::begin(kNamespaces), std::end(kNamespaces), [&](auto& t) { return entry.type == t.name; });
    if (type == std::end(kNamespaces)) return fail(ErrorKind::kInvalid, "unknown namespace type %s", quoted(entry.type).c_str());
    if (seen & type->flag) return fail(ErrorKind::kInvalid, "namespace '%s' is listed twice", type->name);
    seen |= type->flag;
    if (entry.path.empty()) plan.create_namespaces |= type->flag;
    else plan.join_namespaces.push_back({type->flag, entry.path});
  }
  return {};
}

bool namespaced_ipc_sysctl(std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni",          "kernel.sem",
      "kernel.shmall", "kernel.shmmax", "kernel.shmmni",          "kernel.shm_rmid_forced"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames) || name.starts_with("fs.mqueue.");
}

// A value that belongs to no namespace of the container would be the host's.
Result<> add_sysctls(const spec::OciLinux& in, Plan& plan, uint64_t own) {
  for (const auto& [name, value] : in.sysctl) {
    std::string dotted = name;
    if (name.find('/') != std::string::npos)
      for (auto& c : dotted) c = c == '/' ? '.' : c == '.' ? '/' : c;
    bool ok = !has_parent_step(name) && name.find("..") == std::string::npos && name.find('\0') == std::string::npos;
    uint64_t needed = dotted.starts_with("net.") ? CLONE_NEWNET : namespaced_ipc_sysctl(dotted) ? CLONE_NEWIPC
                      : dotted == "kernel.domainname" || dotted == "kernel.hostname" ? CLONE_NEWUTS : 0;
    if (!ok || !(needed & own))
      return fail(ErrorKind::kInvalid, "sysctl \"%s\" is not in a separate kernel namespace", name.c_str());
    plan.sysctls.emplace_back(dotted, value);
  }
  return {};
}

Result<Device> build_device(const spec::OciDevice& in) {
  Device out;
  auto path = clean_path(in.path);
  if (!path || *path == "/") return fail(ErrorKind::kInvalid, "device path %s is invalid", quoted(in.path).c_str());
  out.path = *path;
  uint32_t type = in.type == "c" || in.type == "u" ? S_IFCHR : in.type == "b" ? S_IFBLK : in.type == "p" ? S_IFIFO : 0;
  if (!type) return fail(ErrorKind::kInvalid, "device '%s' has unknown type %s", out.path.c_str(), quoted(in.type).c_str());
  out.mode = (in.file_mode.value_or(0666) & 07777) | type;
  if (in.major < 0 || in.minor < 0 || in.major > 0xfffff || in.minor > 0xfffff)
    if (type != S_IFIFO) return fail(ErrorKind::kInvalid, "device '%s' has an invalid number", out.path.c_str());
  out.major = static_cast<uint32_t>(in.major);
  out.minor = static_cast<uint32_t>(in.minor);
  out.uid = in.uid.value_or(0);
  out.gid = in.gid.value_or(0);
  return out;
}

void add_default_devices(Plan& plan) {
  struct Node {
    const char* path;
    uint32_t major, minor;
  };
  static constexpr Node kNodes[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
                                    {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};
  for (const auto& node : kNodes) {
    bool given = std::any_of(plan.devices.begin(), plan.devices.end(), [&](auto& d) { return d.path == node.path; });
    if (!given) plan.devices.push_back({node.path, S_IFCHR | 0666, node.major, node.minor, 0, 0});
  }
}

Result<> add_mounts(const spec::RuntimeSpec& spec, const BuildOptions& options, Plan& plan) {
  for (const auto& entry : spec.mounts) {
    Mount mount = TRY(build_mount(entry, options.bundle));
    auto destination = clean_path(mount.destination);
    if (!destination || *destination == "/")
      return fail(ErrorKind::kInvalid, "mount destination %s is invalid", quoted(mount.destination).c_str());
    mount.destination = *destination;
    plan.mounts.push_back(std::move(mount));
  }
  return {};
}

Result<uint64_t> root_propagation(const std::string& word) {
  if (word.empty() || word == "private" || word == "rprivate") return 0;  // what the root is anyway
  if (word == "slave" || word == "rslave") return MS_SLAVE;
  if (word == "shared" || word == "rshared") return MS_SHARED;
  if (word == "unbindable" || word == "runbindable") return MS_UNBINDABLE;
  return fail(ErrorKind::kInvalid, "unknown rootfsPropagation %s", quoted(word).c_str());
}

Result<> add_linux(const spec::OciLinux& in, const BuildOptions& options, Plan& plan) {
  TRY(add_namespaces(in, plan));
  uint64_t own = plan.create_namespaces;
  for (const auto& join : plan.join_namespaces) own |= join.type;
  TRY(add_sysctls(in, plan, own));
  for (const auto& m : in.uid_mappings) plan.uid_mappings.push_back({m.container_id, m.host_id, m.size});
  for (const auto& m : in.gid_mappings) plan.gid_mappings.push_back({m.container_id, m.host_id, m.size});
  if ((plan.create_namespaces & CLONE_NEWUSER) && (plan.uid_mappings.empty() || plan.gid_mappings.empty()))
    return fail(ErrorKind::kInvalid, "a user namespace needs uidMappings and gidMappings");
  if (!in.time_offsets.empty()) return fail(ErrorKind::kUnsupported, "timeOffsets");
  for (const auto& device : in.devices) plan.devices.push_back(TRY(build_device(device)));
  for (const auto& [list, target] : {std::pair{&in.masked_paths, &plan.masked_paths}, {&in.readonly_paths, &plan.readonly_paths}})
    for (const auto& path : *list) {
      auto clean = clean_path(path);
      if (!clean || *clean == "/") return fail(ErrorKind::kInvalid, "masked or read-only path %s is invalid", quoted(path).c_str());
      target->push_back(*clean);
    }
  plan.root_propagation = TRY(root_propagation(in.rootfs_propagation));
  if (in.personality) {
    if (in.personality->domain == "LINUX") plan.personality = PER_LINUX;
    else if (in.personality->domain == "LINUX32") plan.personality = PER_LINUX32;
    else return fail(ErrorKind::kInvalid, "unknown personality domain %s", quoted(in.personality->domain).c_str());
  }
  if (in.seccomp) {
    if (options.seccomp_bpf.empty()) return fail(ErrorKind::kInvalid, "linux.seccomp is set, but no compiled filter was given");
    plan.process.seccomp_bpf = options.seccomp_bpf;
    plan.process.seccomp_flags = options.seccomp_flags;
  }
  if (in.resources) plan.cgroup.limits = TRY(build_limits(*in.resources));
  return {};
}

}  // namespace

Result<Plan> build_plan(const spec::RuntimeSpec& spec, const BuildOptions& options) {
  Plan plan;
  plan.id = options.id;
  if (!spec.process) return fail(ErrorKind::kInvalid, "process is missing");
  if (!spec.root) return fail(ErrorKind::kInvalid, "root is missing");
  plan.process = TRY(build_process(*spec.process));
  plan.hostname = spec.hostname;
  plan.domainname = spec.domainname;
  if (plan.hostname.size() > 64 || plan.domainname.size() > 64)
    return fail(ErrorKind::kInvalid, "hostname or domainname is longer than 64 bytes");
  if (!options.rootfs_is_fd) {
    if (spec.root->path.empty()) return fail(ErrorKind::kInvalid, "root.path is empty");
    plan.rootfs = spec.root->path[0] == '/' ? spec.root->path : options.bundle + "/" + spec.root->path;
  }
  plan.readonly_root = spec.root->readonly;
  TRY(add_mounts(spec, options, plan));
  if (spec.linux_part) TRY(add_linux(*spec.linux_part, options, plan));
  add_default_devices(plan);
  uint64_t uts = plan.create_namespaces & CLONE_NEWUTS;
  for (const auto& join : plan.join_namespaces) uts |= join.type & CLONE_NEWUTS;
  if ((!plan.hostname.empty() || !plan.domainname.empty()) && !uts)
    return fail(ErrorKind::kInvalid, "unable to set hostname without a private UTS namespace");
  plan.cgroup.system = options.cgroups;
  const std::string& path = spec.linux_part ? spec.linux_part->cgroups_path : "";
  if (path.empty()) plan.cgroup.path = options.default_cgroup_parent + "/" + options.id;
  else plan.cgroup.path = path[0] == '/' ? path : "/" + path;
  if (has_parent_step(plan.cgroup.path)) return fail(ErrorKind::kInvalid, "cgroupsPath %s is invalid", quoted(path).c_str());
  return plan;
}

}  // namespace caisson::runtime
