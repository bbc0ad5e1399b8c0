// SPDX-License-Identifier: Apache-2.0
// The words of the OCI spec's mount options and what they are as MOUNT_ATTR_* bits.
#include <linux/mount.h>

#include <algorithm>

#include "base/text.h"
#include "runtime/plan_builder.h"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

namespace caisson::runtime {

namespace {

enum class Action : uint8_t {
  kSet,
  kClear,
  kAtime,
  kBind,
  kRecursiveBind,
  kPropagation,
  kFileSystem,
  kNoFileSystem,
  kIgnore,
  kIdMap,
  kRecursiveIdMap,
  kCopyUp,
  kRemount,
  kRelabel,
};

struct Word {
  const char* name;
  Action action;
  uint64_t value;
};

// The same words with an "r" in front act on the mounts below too (those of the first three actions).
constexpr Word kWords[] = {
    {"ro", Action::kSet, MOUNT_ATTR_RDONLY},
    {"rw", Action::kClear, MOUNT_ATTR_RDONLY},
    {"nosuid", Action::kSet, MOUNT_ATTR_NOSUID},
    {"suid", Action::kClear, MOUNT_ATTR_NOSUID},
    {"nodev", Action::kSet, MOUNT_ATTR_NODEV},
    {"dev", Action::kClear, MOUNT_ATTR_NODEV},
    {"noexec", Action::kSet, MOUNT_ATTR_NOEXEC},
    {"exec", Action::kClear, MOUNT_ATTR_NOEXEC},
    {"nodiratime", Action::kSet, MOUNT_ATTR_NODIRATIME},
    {"diratime", Action::kClear, MOUNT_ATTR_NODIRATIME},
    {"nosymfollow", Action::kSet, MOUNT_ATTR_NOSYMFOLLOW},
    {"symfollow", Action::kClear, MOUNT_ATTR_NOSYMFOLLOW},
    {"relatime", Action::kAtime, MOUNT_ATTR_RELATIME},
    {"norelatime", Action::kAtime, MOUNT_ATTR_STRICTATIME},
    {"noatime", Action::kAtime, MOUNT_ATTR_NOATIME},
    {"atime", Action::kAtime, MOUNT_ATTR_RELATIME},
    {"strictatime", Action::kAtime, MOUNT_ATTR_STRICTATIME},
    {"nostrictatime", Action::kAtime, MOUNT_ATTR_RELATIME},
    {"bind", Action::kBind, 0},
    {"rbind", Action::kRecursiveBind, 0},
    {"private", Action::kPropagation, MS_PRIVATE},
    {"rprivate", Action::kPropagation, MS_PRIVATE | MS_REC},
    {"slave", Action::kPropagation, MS_SLAVE},
    {"rslave", Action::kPropagation, MS_SLAVE | MS_REC},
    {"shared", Action::kPropagation, MS_SHARED},
    {"rshared", Action::kPropagation, MS_SHARED | MS_REC},
    {"unbindable", Action::kPropagation, MS_UNBINDABLE},
    {"runbindable", Action::kPropagation, MS_UNBINDABLE | MS_REC},
    {"sync", Action::kFileSystem, 0},
    {"dirsync", Action::kFileSystem, 0},
    {"lazytime", Action::kFileSystem, 0},
    {"mand", Action::kFileSystem, 0},
    {"async", Action::kNoFileSystem, 0},
    {"defaults", Action::kIgnore, 0},
    {"silent", Action::kIgnore, 0},
    {"loud", Action::kIgnore, 0},
    {"nomand", Action::kNoFileSystem, 0},
    {"nolazytime", Action::kNoFileSystem, 0},
    // Bits of mount(2) that only a file system itself sets since Linux 5.2.
    {"acl", Action::kIgnore, 0},
    {"noacl", Action::kIgnore, 0},
    {"iversion", Action::kIgnore, 0},
    {"noiversion", Action::kIgnore, 0},
    {"idmap", Action::kIdMap, 0},
    {"ridmap", Action::kRecursiveIdMap, 0},
    {"tmpcopyup", Action::kCopyUp, 0},
    {"remount", Action::kRemount, 0},
    // SELinux relabelling of a volume has been done by who wrote the option.
    {"z", Action::kRelabel, 0},
    {"Z", Action::kRelabel, 0},
};

const Word* find_word(std::string_view name) {
  for (const auto& word : kWords)
    if (name == word.name) return &word;
  return nullptr;
}

void apply(Action action, uint64_t value, uint64_t& set, uint64_t& clear) {
  if (action == Action::kAtime) {
    set = (set & ~uint64_t{MOUNT_ATTR__ATIME}) | value;
    clear |= MOUNT_ATTR__ATIME;
  } else if (action == Action::kSet) {
    set |= value;
    clear &= ~value;
  } else {
    set &= ~value;
    clear |= value;
  }
}

bool may_be_recursive(const Word& word) { return word.action <= Action::kAtime; }

void add_data(Mount& mount, const std::string& option) { mount.data += (mount.data.empty() ? "" : ",") + option; }

// "async" takes "sync" back, and so on.
void drop_data(Mount& mount, std::string_view option) {
  std::string_view taken = option == "async" ? "sync" : option.substr(2);
  std::vector<std::string> kept;
  for (auto& part : split(mount.data, ','))
    if (part != taken && !part.empty()) kept.push_back(part);
  mount.data = join(kept, ",");
}

std::vector<IdMapping> id_mappings(const std::vector<spec::OciIdMapping>& in) {
  std::vector<IdMapping> out;
  for (const auto& m : in) out.push_back({m.container_id, m.host_id, m.size});
  return out;
}

void set_propagation(Mount& mount, uint64_t value) {
  uint64_t kind = value & ~uint64_t{MS_REC};
  // "slave" and then "shared" is both: what comes in is passed on to a group of its own.
  if (kind == MS_SHARED && mount.propagation == MS_SLAVE) kind |= MS_SLAVE;
  mount.propagation = kind;
  mount.propagation_recursive = value & MS_REC;
}

// What concerns the mount as a whole once all its options are read.
Result<> finish_mount(const spec::OciMount& in, std::string_view bundle, bool bind, bool remount, Mount& out) {
  if (out.id_mapped || !in.uid_mappings.empty() || !in.gid_mappings.empty()) {
    if (!bind)
      return fail(ErrorKind::kInvalid, "mount at '%s': id-mapped mounts are only supported for bind-mounts",
                  out.destination.c_str());
    out.id_mapped = true;
    out.uid_mappings = id_mappings(in.uid_mappings);
    out.gid_mappings = id_mappings(in.gid_mappings);
    if (out.uid_mappings.empty() != out.gid_mappings.empty())
      return fail(ErrorKind::kInvalid, "mount at '%s': id-mapped mounts must have both uid and gid mappings specified",
                  out.destination.c_str());
  }
  if (remount) {
    out.kind = bind ? Mount::Kind::kBind : Mount::Kind::kFilesystem;
    out.type = "remount";
    if (bind) out.data.clear();
    return {};
  }
  if (bind) {
    out.kind = Mount::Kind::kBind;
    out.type = "bind";
    out.data.clear();
    if (out.source.empty())
      return fail(ErrorKind::kInvalid, "bind mount at '%s' has no source", out.destination.c_str());
    if (out.source[0] != '/') out.source = std::string(bundle) + "/" + out.source;
    return {};
  }
  if (in.type == "cgroup" || in.type == "cgroup2")
    out.kind = Mount::Kind::kCgroup;
  else if (in.type.empty() || in.type == "none")
    return fail(ErrorKind::kInvalid, "mount at '%s' has no type", out.destination.c_str());
  return {};
}

}  // namespace

std::vector<std::string> known_mount_options() {
  std::vector<std::string> out;
  for (const auto& word : kWords) {
    if (word.action == Action::kRelabel) continue;
    out.emplace_back(word.name);
    if (may_be_recursive(word)) out.push_back(std::string("r") + word.name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

Result<Mount> build_mount(const spec::OciMount& in, std::string_view bundle) {
  Mount out;
  if (in.destination.empty() || in.destination.find('\0') != std::string::npos)
    return fail(ErrorKind::kInvalid, "mount destination %s is invalid", quoted(in.destination).c_str());
  out.destination = in.destination[0] == '/' ? in.destination : "/" + in.destination;
  for (const auto* text : {&in.type, &in.source})
    if (text->find('\0') != std::string::npos)
      return fail(ErrorKind::kInvalid, "mount at '%s': its type or source holds a zero byte", out.destination.c_str());
  out.type = in.type;
  out.source = in.source;
  bool bind = in.type == "bind" || in.type == "rbind";
  bool remount = false;
  out.recursive = in.type == "rbind";
  for (const auto& option : in.options) {
    if (option.find('\0') != std::string::npos)
      return fail(ErrorKind::kInvalid, "mount at '%s': an option holds a zero byte", out.destination.c_str());
    const Word* word = find_word(option);
    bool below = false;
    if (!word && option.size() > 1 && option[0] == 'r') {
      word = find_word(std::string_view(option).substr(1));
      if (word && !may_be_recursive(*word)) word = nullptr;
      below = word;
    }
    if (!word) {
      add_data(out, option);
      continue;
    }
    switch (word->action) {
      case Action::kSet:
      case Action::kClear:
      case Action::kAtime:
        if (below)
          apply(word->action, word->value, out.set_attributes_recursive, out.clear_attributes_recursive);
        else
          apply(word->action, word->value, out.set_attributes, out.clear_attributes);
        break;
      case Action::kBind: bind = true; break;
      case Action::kRecursiveBind: bind = out.recursive = true; break;
      case Action::kPropagation: set_propagation(out, word->value); break;
      case Action::kFileSystem: add_data(out, option); break;
      case Action::kNoFileSystem: drop_data(out, option); break;
      case Action::kIdMap: out.id_mapped = true; break;
      case Action::kRecursiveIdMap: out.id_mapped = out.id_mapped_recursive = true; break;
      // Elsewhere than on tmpfs the word means nothing, as with runc.
      case Action::kCopyUp: out.copy_up = in.type == "tmpfs"; break;
      case Action::kRemount: remount = true; break;
      case Action::kIgnore:
      case Action::kRelabel: break;
    }
  }
  TRY(finish_mount(in, bundle, bind, remount, out));
  return out;
}

}  // namespace caisson::runtime
