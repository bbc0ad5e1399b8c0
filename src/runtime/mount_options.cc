// SPDX-License-Identifier: Apache-2.0
// The words of the OCI spec's mount options and what they are as MOUNT_ATTR_* bits.
#include <linux/mount.h>

#include <iterator>

#include "base/text.h"
#include "runtime/plan_builder.h"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

namespace caisson::runtime {

namespace {

enum class Action : uint8_t { kSet, kClear, kAtime, kBind, kRecursiveBind, kPropagation, kFileSystem, kIgnore };

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
    {"async", Action::kIgnore, 0},
    {"defaults", Action::kIgnore, 0},
    {"silent", Action::kIgnore, 0},
    {"loud", Action::kIgnore, 0},
    {"nomand", Action::kIgnore, 0},
    {"nolazytime", Action::kIgnore, 0},
    {"remount", Action::kIgnore, 0},
    // SELinux relabelling of a volume has been done by who wrote the option.
    {"z", Action::kIgnore, 0},
    {"Z", Action::kIgnore, 0},
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

}  // namespace

Result<Mount> build_mount(const spec::OciMount& in, std::string_view bundle) {
  Mount out;
  if (in.destination.empty() || in.destination.find('\0') != std::string::npos)
    return fail(ErrorKind::kInvalid, "mount destination %s is invalid", quoted(in.destination).c_str());
  out.destination = in.destination[0] == '/' ? in.destination : "/" + in.destination;
  out.type = in.type;
  out.source = in.source;
  bool bind = in.type == "bind" || in.type == "rbind";
  out.recursive = in.type == "rbind";
  for (const auto& option : in.options) {
    const Word* word = find_word(option);
    bool below = false;
    if (!word && option.size() > 1 && option[0] == 'r') {
      word = find_word(std::string_view(option).substr(1));
      if (word && word->action > Action::kAtime) word = nullptr;
      below = word;
    }
    if (!word) {
      if (option == "idmap" || option == "ridmap" || option == "tmpcopyup")
        return fail(ErrorKind::kUnsupported, "mount option '%s' for '%s'", option.c_str(), out.destination.c_str());
      out.data += (out.data.empty() ? "" : ",") + option;
      continue;
    }
    switch (word->action) {
      case Action::kSet:
      case Action::kClear:
      case Action::kAtime:
        if (below) apply(word->action, word->value, out.set_attributes_recursive, out.clear_attributes_recursive);
        else apply(word->action, word->value, out.set_attributes, out.clear_attributes);
        break;
      case Action::kBind: bind = true; break;
      case Action::kRecursiveBind: bind = out.recursive = true; break;
      case Action::kPropagation:
        out.propagation = word->value & ~uint64_t{MS_REC};
        out.propagation_recursive = word->value & MS_REC;
        break;
      case Action::kFileSystem: out.data += (out.data.empty() ? "" : ",") + option; break;
      case Action::kIgnore: break;
    }
  }
  if (!in.uid_mappings.empty() || !in.gid_mappings.empty())
    return fail(ErrorKind::kUnsupported, "id-mapped mount at '%s'", out.destination.c_str());
  if (bind) {
    out.kind = Mount::Kind::kBind;
    out.type = "bind";
    out.data.clear();
    if (out.source.empty()) return fail(ErrorKind::kInvalid, "bind mount at '%s' has no source", out.destination.c_str());
    if (out.source[0] != '/') out.source = std::string(bundle) + "/" + out.source;
  } else if (in.type == "cgroup" || in.type == "cgroup2") {
    out.kind = Mount::Kind::kCgroup;
  } else if (in.type.empty()) {
    return fail(ErrorKind::kInvalid, "mount at '%s' has no type", out.destination.c_str());
  }
  return out;
}

}  // namespace caisson::runtime
