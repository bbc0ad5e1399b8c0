// SPDX-License-Identifier: Apache-2.0
#include "exec_flags.h"

#include <algorithm>

#include "base/text.h"

namespace caisson::oci {

namespace {

std::optional<uint32_t> id_number(std::string_view text) {
  auto number = parse_uint(text);
  if (!number || *number > UINT32_MAX - 1) return std::nullopt;
  return static_cast<uint32_t>(*number);
}

Result<> set_user(const std::string& text, spec::OciProcess& process) {
  auto pair = split_once(text, ':');
  auto uid = id_number(pair ? pair->first : text);
  auto gid = pair ? id_number(pair->second) : std::optional(process.user.gid);
  if (!uid || !gid) return fail(ErrorKind::kInvalid, "user %s is not UID[:GID]", quoted(text).c_str());
  process.user.uid = *uid;
  process.user.gid = *gid;
  return {};
}

// Unknown ones are passed over later, as those of a spec are.
void add_capabilities(const std::vector<std::string>& names, spec::OciProcess& process) {
  if (names.empty()) return;
  auto& sets = process.capabilities ? *process.capabilities : process.capabilities.emplace();
  for (const auto& name : names) {
    for (auto* set : {&sets.bounding, &sets.effective, &sets.permitted, &sets.ambient}) set->push_back(name);
  }
}

bool has_parent_step(const std::string& path) {
  for (const auto& part : split(path, '/'))
    if (part == "..") return true;
  return false;
}

}  // namespace

Result<> apply_exec_flags(const Parsed& flags, spec::OciProcess& process) {
  process.args.assign(flags.arguments.begin() + 1, flags.arguments.end());
  if (process.args.empty()) return fail(ErrorKind::kInvalid, "process args cannot be empty");
  if (const std::string* cwd = flags.find("cwd")) {
    if (!cwd->starts_with("/")) return fail(ErrorKind::kInvalid, "Cwd must be an absolute path");
    process.cwd = *cwd;
  }
  process.terminal = flags.on("tty");
  if (const std::string* profile = flags.find("apparmor")) process.apparmor_profile = *profile;
  if (const std::string* label = flags.find("process-label")) process.selinux_label = *label;
  if (flags.has("no-new-privs")) process.no_new_privileges = flags.on("no-new-privs");
  for (auto& entry : flags.list("env")) process.env.push_back(std::move(entry));
  if (const std::string* user = flags.find("user"); user && !user->empty()) TRY(set_user(*user, process));
  for (const auto& text : flags.list("additional-gids")) {
    for (const auto& part : split(text, ',')) {
      auto gid = id_number(part);
      if (!gid) return fail(ErrorKind::kInvalid, "additional gid %s is not a number", quoted(part).c_str());
      process.user.additional_gids.push_back(*gid);
    }
  }
  add_capabilities(flags.list("cap"), process);
  return {};
}

Result<sys::CgroupPaths> sub_cgroups(const sys::CgroupPaths& container, const std::vector<std::string>& wanted) {
  sys::CgroupPaths out = container;
  for (const auto& text : wanted) {
    auto pair = split_once(text, ':');
    std::string path = pair ? pair->second : text;
    if (path.empty() || has_parent_step(path))
      return fail(ErrorKind::kInvalid, "invalid --cgroup value %s", quoted(text).c_str());
    if (!path.starts_with("/")) path.insert(0, 1, '/');
    if (container.v2 && pair)
      return fail(ErrorKind::kInvalid, "--cgroup %s: cgroup v2 knows no controllers here", quoted(text).c_str());
    if (!pair) {
      if (wanted.size() > 1)
        return fail(ErrorKind::kInvalid, "--cgroup: a path without a controller stands for all of them");
      for (auto& dir : out.dirs) dir += path;
      continue;
    }
    for (const auto& controller : split(pair->first, ',')) {
      size_t at = 0;
      const auto& all = container.controllers;
      while (at < all.size() && std::find(all[at].begin(), all[at].end(), controller) == all[at].end()) ++at;
      if (at == all.size())
        return fail(ErrorKind::kInvalid, "--cgroup: unknown controller %s", quoted(controller).c_str());
      if (out.dirs[at] == container.dirs[at]) out.dirs[at] += path;
    }
  }
  return out;
}

}  // namespace caisson::oci
