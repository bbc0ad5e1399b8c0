// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan_builder.h"

#include <sched.h>
#include <sys/personality.h>
#include <sys/stat.h>

#include <linux/mount.h>

#include <algorithm>

#include "base/text.h"
#include "runtime/default_spec.h"
#include "runtime/rootfs_builder.h"

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
  TRY(add_linux_root(in, plan));
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
