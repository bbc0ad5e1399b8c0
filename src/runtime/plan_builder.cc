// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan_builder.h"

#include <sched.h>
#include <sys/stat.h>

#include <linux/mount.h>

#include <time.h>

#include <algorithm>

#include "base/text.h"
#include "runtime/default_spec.h"
#include "runtime/process_builder.h"
#include "runtime/rootfs_builder.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace caisson::runtime {

namespace {

struct NamespaceType {
  const char* name;
  uint64_t flag;
};
constexpr NamespaceType kNamespaces[] = {
    {"pid", CLONE_NEWPID}, {"network", CLONE_NEWNET}, {"mount", CLONE_NEWNS},      {"ipc", CLONE_NEWIPC},
    {"uts", CLONE_NEWUTS}, {"user", CLONE_NEWUSER},   {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME},
};

bool has_parent_step(std::string_view path) {
  for (auto& part : split(path, '/'))
    if (part == "..") return true;
  return false;
}

Result<> add_namespaces(const spec::OciLinux& in, Plan& plan) {
  uint64_t seen = 0;
  for (const auto& entry : in.namespaces) {
    auto type =
        std::find_if(std::begin(kNamespaces), std::end(kNamespaces), [&](auto& t) { return entry.type == t.name; });
    if (type == std::end(kNamespaces))
      return fail(ErrorKind::kInvalid, "unknown namespace type %s", quoted(entry.type).c_str());
    if (seen & type->flag) return fail(ErrorKind::kInvalid, "namespace '%s' is listed twice", type->name);
    seen |= type->flag;
    if (!entry.path.empty() && entry.path[0] != '/')
      return fail(ErrorKind::kInvalid, "path %s of namespace '%s' is not absolute", quoted(entry.path).c_str(),
                  type->name);
    if (entry.path.empty())
      plan.create_namespaces |= type->flag;
    else
      plan.join_namespaces.push_back({type->flag, entry.path});
  }
  return {};
}

bool namespaced_ipc_sysctl(std::string_view name) {
  static constexpr std::string_view kNames[] = {"kernel.msgmax", "kernel.msgmnb",         "kernel.msgmni",
                                                "kernel.sem",    "kernel.shmall",         "kernel.shmmax",
                                                "kernel.shmmni", "kernel.shm_rmid_forced"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames) || name.starts_with("fs.mqueue.");
}

// A value that belongs to no namespace of the container would be the host's.
Result<> add_sysctls(const spec::OciLinux& in, Plan& plan, uint64_t own) {
  for (const auto& [name, value] : in.sysctl) {
    std::string dotted = name;
    if (name.find('/') != std::string::npos)
      for (auto& c : dotted) c = c == '/' ? '.' : c == '.' ? '/' : c;
    bool ok = !has_parent_step(name) && name.find("..") == std::string::npos && name.find('\0') == std::string::npos;
    uint64_t needed = dotted.starts_with("net.")                                     ? CLONE_NEWNET
                      : namespaced_ipc_sysctl(dotted)                                ? CLONE_NEWIPC
                      : dotted == "kernel.domainname" || dotted == "kernel.hostname" ? CLONE_NEWUTS
                                                                                     : 0;
    if (!ok || !(needed & own))
      return fail(ErrorKind::kInvalid, "sysctl \"%s\" is not in a separate kernel namespace", name.c_str());
    plan.sysctls.emplace_back(dotted, value);
  }
  return {};
}

Result<> add_time_offsets(const spec::OciLinux& in, Plan& plan) {
  if (in.time_offsets.empty()) return {};
  if (!(plan.create_namespaces & CLONE_NEWTIME))
    return fail(ErrorKind::kInvalid, "timeOffsets need a time namespace of the container's own");
  for (const auto& [name, offset] : in.time_offsets) {
    int32_t clock = name == "monotonic" ? CLOCK_MONOTONIC : name == "boottime" ? CLOCK_BOOTTIME : -1;
    if (clock < 0) return fail(ErrorKind::kInvalid, "timeOffsets: unknown clock %s", quoted(name).c_str());
    if (offset.nanosecs >= 1000000000)
      return fail(ErrorKind::kInvalid, "timeOffsets: nanosecs %u is a second or more", offset.nanosecs);
    plan.time_offsets.push_back({clock, offset.secs, offset.nanosecs});
  }
  return {};
}

Result<> add_hooks(const char* kind, const std::vector<spec::OciHook>& in, std::vector<Hook>& out) {
  for (const auto& entry : in) {
    if (entry.path.empty() || entry.path[0] != '/' || entry.path.find('\0') != std::string::npos)
      return fail(ErrorKind::kInvalid, "%s hook: path %s is not absolute", kind, quoted(entry.path).c_str());
    if (entry.timeout && *entry.timeout <= 0)
      return fail(ErrorKind::kInvalid, "%s hook '%s': timeout %ld is not positive", kind, entry.path.c_str(),
                  static_cast<long>(*entry.timeout));
    auto timeout = std::min<int64_t>(entry.timeout.value_or(0), UINT32_MAX);
    out.push_back({entry.path, entry.args, entry.env, static_cast<uint32_t>(timeout)});
  }
  return {};
}

// They would be made in the caller's view of the host otherwise.
Result<> check_mount_namespace(const Plan& plan) {
  if (plan.create_namespaces & CLONE_NEWNS) return {};
  const char* what = !plan.mounts.empty()           ? "mounts"
                     : !plan.masked_paths.empty()   ? "maskedPaths"
                     : !plan.readonly_paths.empty() ? "readonlyPaths"
                     : plan.readonly_root           ? "a read-only root"
                                                    : nullptr;
  if (what) return fail(ErrorKind::kInvalid, "%s need a mount namespace of the container's own", what);
  return {};
}

Result<> check_version(const std::string& version) {
  if (version.empty()) return fail(ErrorKind::kInvalid, "ociVersion is missing");
  if (version.starts_with("1.")) return {};
  return fail(ErrorKind::kUnsupported, "ociVersion %s: this runtime knows 1.x", quoted(version).c_str());
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
  TRY(add_time_offsets(in, plan));
  TRY(add_linux_root(in, plan));
  TRY(add_linux_process(in, plan));
  if (in.seccomp) {
    if (options.seccomp_bpf.empty())
      return fail(ErrorKind::kInvalid, "linux.seccomp is set, but no compiled filter was given");
    plan.process.seccomp_bpf = options.seccomp_bpf;
    plan.process.seccomp_flags = options.seccomp_flags;
  }
  if (in.resources) plan.cgroup.limits = TRY(build_limits(*in.resources));
  return {};
}

Result<> add_cgroup_path(const std::string& path, const BuildOptions& options, Plan& plan) {
  const std::string& parent = options.default_cgroup_parent;
  // A relative one lies below the runtime's own cgroup: sys::cgroup_paths.
  plan.cgroup.path = !path.empty() ? path : parent.empty() ? options.id : parent + "/" + options.id;
  if (has_parent_step(plan.cgroup.path))
    return fail(ErrorKind::kInvalid, "cgroupsPath %s is invalid", quoted(path).c_str());
  return {};
}

Result<> add_systemd_unit(const std::string& path, const spec::RuntimeSpec& spec, const BuildOptions& options,
                          Plan& plan) {
  constexpr std::string_view kPrefix = "org.systemd.property.";
  plan.cgroup.path = path;
  plan.cgroup.systemd_program = options.systemd_program;
  plan.cgroup.systemd_user = options.rootless;
  TRY(sys::systemd_unit_of(path, options.id, options.rootless));
  for (const auto& [name, value] : spec.annotations)
    if (name.starts_with(kPrefix))
      plan.cgroup.systemd_properties.push_back(
          TRY(sys::systemd_property_of(std::string_view(name).substr(kPrefix.size()), value)));
  return {};
}

}  // namespace

Result<Hooks> build_hooks(const spec::OciHooks& in) {
  Hooks out;
  TRY(add_hooks("prestart", in.prestart, out.prestart));
  TRY(add_hooks("createRuntime", in.create_runtime, out.create_runtime));
  TRY(add_hooks("createContainer", in.create_container, out.create_container));
  TRY(add_hooks("startContainer", in.start_container, out.start_container));
  TRY(add_hooks("poststart", in.poststart, out.poststart));
  TRY(add_hooks("poststop", in.poststop, out.poststop));
  return out;
}

Result<Plan> build_plan(const spec::RuntimeSpec& spec, const BuildOptions& options) {
  TRY(check_version(spec.oci_version));
  Plan plan;
  plan.id = options.id;
  plan.oci_version = spec.oci_version;
  plan.bundle = options.bundle;
  plan.rootless = options.rootless;
  plan.no_pivot = options.no_pivot;
  plan.new_session_keyring = options.new_session_keyring;
  plan.annotations.assign(spec.annotations.begin(), spec.annotations.end());
  if (spec.hooks) plan.hooks = TRY(build_hooks(*spec.hooks));
  if (!spec.process) return fail(ErrorKind::kInvalid, "process is missing");
  if (!spec.root) return fail(ErrorKind::kInvalid, "root is missing");
  plan.process = TRY(build_process(*spec.process));
  for (const auto& [name, text] :
       {std::pair{"hostname", &spec.hostname}, {"domainname", &spec.domainname}, {"root.path", &spec.root->path}})
    if (text->find('\0') != std::string::npos) return fail(ErrorKind::kInvalid, "%s holds a zero byte", name);
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
    return fail(ErrorKind::kInvalid, "unable to set %s without a private UTS namespace",
                plan.hostname.empty() ? "domainname" : "hostname");
  for (auto [name, field] : {std::pair{"kernel.hostname", &plan.hostname}, {"kernel.domainname", &plan.domainname}})
    for (const auto& [given, value] : plan.sysctls)
      if (given == name && !field->empty())
        return fail(ErrorKind::kInvalid, "sysctl \"%s\" is not allowed as it conflicts with the OCI \"%s\" field", name,
                    name + sizeof("kernel.") - 1);
  TRY(check_mount_namespace(plan));
  plan.cgroup.system = options.cgroups;
  plan.cgroup.take_over = options.take_over_cgroup;
  const std::string& path = spec.linux_part ? spec.linux_part->cgroups_path : "";
  plan.cgroup.optional = path.empty();
  if (options.systemd_program.empty())
    TRY(add_cgroup_path(path, options, plan));
  else
    TRY(add_systemd_unit(path, spec, options, plan));
  return plan;
}

}  // namespace caisson::runtime
