// SPDX-License-Identifier: Apache-2.0
// `features`: what this build can do, in the form of the runtime specification. Where a table of the
// runtime knows, the table is asked.
#include <cstdio>
#include <map>

#include "runtime/default_spec.h"
#include "runtime/plan_builder.h"
#include "spec/oci_runtime.h"
#include "sys/seccomp.h"

#include "commands.h"

namespace caisson::oci {

namespace {

constexpr Usage kUsage{
    "features", "", "show what this runtime can do", "JSON as features.md of the runtime specification has it.", {},
    0,          0};

struct Enabled {
  bool enabled = false;
};
CAISSON_JSON(Enabled, CAISSON_FIELD("enabled", enabled))

struct CgroupFeatures {
  bool v1 = true, v2 = true, systemd = true, systemd_user = true, rdma = true;
};
CAISSON_JSON(CgroupFeatures, CAISSON_FIELD("v1", v1), CAISSON_FIELD("v2", v2), CAISSON_FIELD("systemd", systemd),
             CAISSON_FIELD("systemdUser", systemd_user), CAISSON_FIELD("rdma", rdma))

struct SeccompFeatures {
  bool enabled = true;
  std::vector<std::string> actions, operators, archs, known_flags, supported_flags;
};
CAISSON_JSON(SeccompFeatures, CAISSON_FIELD("enabled", enabled), CAISSON_FIELD("actions", actions),
             CAISSON_FIELD("operators", operators), CAISSON_FIELD("archs", archs),
             CAISSON_FIELD("knownFlags", known_flags), CAISSON_FIELD("supportedFlags", supported_flags))

struct MountExtensions {
  Enabled idmap{true};
};
CAISSON_JSON(MountExtensions, CAISSON_FIELD("idmap", idmap))

struct LinuxFeatures {
  std::vector<std::string> namespaces = {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"},
                           capabilities;
  CgroupFeatures cgroup;
  SeccompFeatures seccomp;
  Enabled apparmor{true}, selinux{true}, intel_rdt{false}, net_devices{true};
  MountExtensions mount_extensions;
};
CAISSON_JSON(LinuxFeatures, CAISSON_FIELD("namespaces", namespaces), CAISSON_FIELD("capabilities", capabilities),
             CAISSON_FIELD("cgroup", cgroup), CAISSON_FIELD("seccomp", seccomp), CAISSON_FIELD("apparmor", apparmor),
             CAISSON_FIELD("selinux", selinux), CAISSON_FIELD("intelRdt", intel_rdt),
             CAISSON_FIELD("mountExtensions", mount_extensions), CAISSON_FIELD("netDevices", net_devices))

struct Features {
  std::string oci_version_min = "1.0.0", oci_version_max;
  std::vector<std::string> hooks = {"prestart",       "createRuntime", "createContainer",
                                    "startContainer", "poststart",     "poststop"};
  std::vector<std::string> mount_options;
  LinuxFeatures linux_part;
  std::map<std::string, std::string> annotations;
};
CAISSON_JSON(Features, CAISSON_FIELD("ociVersionMin", oci_version_min), CAISSON_FIELD("ociVersionMax", oci_version_max),
             CAISSON_FIELD("hooks", hooks), CAISSON_FIELD("mountOptions", mount_options),
             CAISSON_FIELD("linux", linux_part), CAISSON_FIELD("annotations", annotations))

SeccompFeatures seccomp_features() {
  SeccompFeatures out;
  for (const char* name :
       {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"})
    if (sys::seccomp_action(name, 0)) out.actions.push_back(name);
  for (const char* name :
       {"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"})
    if (sys::seccomp_compare(name)) out.operators.push_back(name);
#if defined(__x86_64__)
  out.archs = {"SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"};
#else
  out.archs = {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"};
#endif
  for (const char* name : {"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                           "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"})
    if (sys::seccomp_flag(name)) out.known_flags.push_back(name);
  out.supported_flags = out.known_flags;
  return out;
}

Result<int> features(const Options&, const Parsed&) {
  Features out;
  out.oci_version_max = spec::OciState{}.oci_version;
  out.mount_options = runtime::known_mount_options();
  out.linux_part.capabilities = runtime::all_capability_names();
  out.linux_part.seccomp = seccomp_features();
  out.annotations = {{"org.opencontainers.runc.checkpoint.enabled", "true"}, {"run.oci.caisson.version", "0.1.0"}};
  puts(TRY(json::indent(json::encode(out), "    ")).c_str());
  return 0;
}

}  // namespace

constinit const Command kFeaturesCommand{&kUsage, features};

}  // namespace caisson::oci
