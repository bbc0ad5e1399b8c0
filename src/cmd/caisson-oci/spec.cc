// SPDX-License-Identifier: Apache-2.0
// `spec`: a config.json to begin with.
#include <unistd.h>

#include "base/text.h"
#include "runtime/default_spec.h"
#include "sys/cgroup.h"
#include "sys/files.h"

#include "commands.h"

namespace caisson::oci {

namespace {

using enum Flag::Kind;

constexpr Flag kFlags[] = {{"bundle", 'b', kValue, "path to the bundle directory, defaults to the current directory"},
                           {"rootless", 0, kSwitch, "a configuration for a container of an ordinary user"}};
constexpr Usage kUsage{
    "spec",
    "",
    "create a new specification file",
    "Writes config.json into the bundle directory; its root file system is the directory rootfs beside it.",
    kFlags,
    0,
    0};

spec::RuntimeSpec starter_spec() {
  auto out = runtime::default_runtime_spec();
  auto& process = *out.process;
  process.args = {"sh"};
  process.terminal = true;
  process.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"};
  process.no_new_privileges = true;
  process.rlimits = {{"RLIMIT_NOFILE", 1024, 1024}};
  std::vector<std::string> few = {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"};
  process.capabilities = spec::OciCapabilities{few, few, {}, few, {}};
  out.root->path = "rootfs";
  out.root->readonly = true;
  out.hostname = "caisson";
  return out;
}

// One id is mapped, the caller's; what it may not do is left out.
void make_rootless(spec::RuntimeSpec& out) {
  auto& part = *out.linux_part;
  std::erase_if(part.namespaces, [](const auto& entry) { return entry.type == "network" || entry.type == "user"; });
  part.namespaces.push_back({"user", ""});
  part.uid_mappings = {{0, geteuid(), 1}};
  part.gid_mappings = {{0, getegid(), 1}};
  part.resources.reset();
  for (auto& mount : out.mounts) {
    std::erase_if(mount.options,
                  [](const auto& option) { return option.starts_with("gid=") || option.starts_with("uid="); });
    if (mount.type != "sysfs") continue;
    mount.type = "none";
    mount.source = "/sys";
    mount.options = {"rbind", "nosuid", "noexec", "nodev", "ro"};
  }
}

Result<int> spec(const Options&, const Parsed& flags) {
  std::string bundle = flags.value("bundle");
  std::string path = bundle.empty() ? "config.json" : bundle + "/config.json";
  if (sys::path_exists(path)) return fail(ErrorKind::kExists, "File config.json exists. Remove it first");
  auto out = starter_spec();
  if (flags.on("rootless")) make_rootless(out);
  TRY(sys::replace_file(path, TRY(json::indent(to_json(out), "\t")) + "\n", 0644));
  return 0;
}

}  // namespace

constinit const Command kSpecCommand{&kUsage, spec};

}  // namespace caisson::oci
