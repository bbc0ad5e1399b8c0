// SPDX-License-Identifier: Apache-2.0
// OCI runtime spec -> Plan. Pure: what the host must be asked (compiled seccomp filter, cgroup system)
// comes in as arguments.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/plan.h"
#include "spec/oci_runtime.h"

namespace caisson::runtime {

struct BuildOptions {
  std::string id;
  // Compiled filter for spec.linux.seccomp (see seccomp_profile.h); empty with a seccomp section in the
  // spec is an error, so that a profile is never dropped by oversight.
  std::string seccomp_bpf;
  uint32_t seccomp_flags = 0;
  sys::CgroupSystem cgroups;                       // empty: the executing side detects it
  std::string default_cgroup_parent = "/caisson";  // when the spec has no cgroupsPath; empty: our own cgroup
  bool take_over_cgroup = false;                   // see CgroupPlan
  std::string systemd_program;                     // see CgroupPlan; cgroupsPath is "slice:prefix:name" then
  bool rootfs_is_fd = false;                       // root.path is ignored, the mount comes as StartFds::rootfs
  std::string bundle;                              // relative root.path and bind sources are taken from here
  bool rootless = false;                           // see Plan
  bool no_pivot = false;
  bool new_session_keyring = true;
};

// kInvalid names the field of the spec that is wrong; kUnsupported what this build cannot do.
Result<Plan> build_plan(const spec::RuntimeSpec& spec, const BuildOptions& options);
Result<Hooks> build_hooks(const spec::OciHooks& hooks);
Result<ProcessPlan> build_process(const spec::OciProcess& process);
Result<sys::CgroupLimits> build_limits(const spec::OciResources& resources);

// Mount options as in the spec ("ro", "nosuid", "rslave", "size=64k"): flags into attributes, the rest
// into `data`.
Result<Mount> build_mount(const spec::OciMount& mount, std::string_view bundle);
// Every word build_mount() knows, sorted; others are the file system's.
std::vector<std::string> known_mount_options();

// "RLIMIT_NOFILE" or "nofile" -> RLIMIT_NOFILE.
Result<uint32_t> resource_of_name(std::string_view name);

}  // namespace caisson::runtime
