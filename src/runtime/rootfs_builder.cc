// SPDX-License-Identifier: Apache-2.0
#include "runtime/rootfs_builder.h"

#include <linux/mount.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/text.h"

namespace caisson::runtime {

namespace {

Result<Device> build_device(const spec::OciDevice& in) {
  Device out;
  auto path = clean_path(in.path);
  if (!path || *path == "/") return fail(ErrorKind::kInvalid, "device path %s is invalid", quoted(in.path).c_str());
  out.path = *path;
  uint32_t type = in.type == "c" || in.type == "u" ? S_IFCHR : in.type == "b" ? S_IFBLK : in.type == "p" ? S_IFIFO : 0;
  if (!type)
    return fail(ErrorKind::kInvalid, "device '%s' has unknown type %s", out.path.c_str(), quoted(in.type).c_str());
  out.mode = (in.file_mode.value_or(0666) & 07777) | type;
  if (type != S_IFIFO) {
    if (in.major < 0 || in.minor < 0 || in.major > 0xfff || in.minor > 0xfffff)
      return fail(ErrorKind::kInvalid, "device '%s' has an invalid number", out.path.c_str());
    out.major = static_cast<uint32_t>(in.major);
    out.minor = static_cast<uint32_t>(in.minor);
  }
  out.uid = in.uid.value_or(0);
  out.gid = in.gid.value_or(0);
  return out;
}

Result<uint64_t> root_propagation(std::string_view word) {
  if (word.empty() || word == "private" || word == "rprivate") return 0;  // what the root is anyway
  std::string_view plain = word;
  uint64_t below = 0;
  if (plain.starts_with('r')) {
    plain.remove_prefix(1);
    below = MS_REC;
  }
  if (plain == "slave") return MS_SLAVE | below;
  if (plain == "shared") return MS_SHARED | below;
  if (plain == "unbindable") return MS_UNBINDABLE | below;
  return fail(ErrorKind::kInvalid, "unknown rootfsPropagation %s", quoted(word).c_str());
}

// Which new file systems carry the label of linux.mountLabel.
bool takes_label(const Mount& mount) {
  return mount.kind == Mount::Kind::kFilesystem && mount.type != "proc" && mount.type != "sysfs" &&
         mount.type != "mqueue" && mount.type != "remount";
}

}  // namespace

std::optional<std::string> clean_path(std::string_view path) {
  if (path.empty() || path[0] != '/' || path.find('\0') != std::string_view::npos) return std::nullopt;
  std::string out;
  for (auto& part : split(path, '/')) {
    if (part == "..")
      out.resize(out.empty() ? 0 : out.rfind('/'));
    else if (!part.empty() && part != ".")
      out += "/" + part;
  }
  return out.empty() ? "/" : out;
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
  const std::string* label =
      spec.linux_part && !spec.linux_part->mount_label.empty() ? &spec.linux_part->mount_label : nullptr;
  if (label && label->find_first_of(std::string_view("\"\0", 2)) != std::string::npos)
    return fail(ErrorKind::kInvalid, "mountLabel %s is invalid", quoted(*label).c_str());
  for (const auto& entry : spec.mounts) {
    Mount mount = TRY(build_mount(entry, options.bundle));
    auto destination = clean_path(mount.destination);
    if (!destination || *destination == "/")
      return fail(ErrorKind::kInvalid, "mount destination %s is invalid", quoted(mount.destination).c_str());
    mount.destination = *destination;
    // In quotes, as categories of a label are separated by commas.
    if (label && takes_label(mount))
      mount.data += (mount.data.empty() ? "" : ",") + format("context=\"%s\"", label->c_str());
    plan.mounts.push_back(std::move(mount));
  }
  return {};
}

Result<> add_linux_root(const spec::OciLinux& in, Plan& plan) {
  for (const auto& device : in.devices) plan.devices.push_back(TRY(build_device(device)));
  for (const auto& [list, target] :
       {std::pair{&in.masked_paths, &plan.masked_paths}, {&in.readonly_paths, &plan.readonly_paths}})
    for (const auto& path : *list) {
      auto clean = clean_path(path);
      if (!clean || *clean == "/")
        return fail(ErrorKind::kInvalid, "masked or read-only path %s is invalid", quoted(path).c_str());
      target->push_back(*clean);
    }
  plan.root_propagation = TRY(root_propagation(in.rootfs_propagation));
  return {};
}

}  // namespace caisson::runtime
