// SPDX-License-Identifier: Apache-2.0
// Which hierarchies the host has, where we are in them, and where a container's group lies.
#include <algorithm>

#include "base/text.h"
#include "sys/cgroup_internal.h"
#include "sys/files.h"

namespace caisson::sys {

namespace detail {

std::string below_root(std::string_view path, std::string_view root) {
  // "/.." is how the kernel shows what lies outside of our cgroup namespace.
  if (path.empty() || path[0] != '/' || path.starts_with("/..") || root.starts_with("/..")) return "";
  if (root == "/") return std::string(path);
  if (path == root) return "/";
  return path.starts_with(root) && path[root.size()] == '/' ? std::string(path.substr(root.size())) : "";
}

}  // namespace detail

namespace {

// Octal escapes of /proc/self/mountinfo.
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size())
      if (auto code = parse_octal(text.substr(i + 1, 3))) {
        out += static_cast<char>(*code);
        i += 3;
        continue;
      }
    out += text[i];
  }
  return out;
}

bool known_controller(std::string_view option) {
  static constexpr std::string_view kKnown[] = {"cpu",      "cpuacct",    "cpuset", "memory",  "devices",
                                                "freezer",  "blkio",      "pids",   "hugetlb", "net_cls",
                                                "net_prio", "perf_event", "rdma",   "misc"};
  return option.starts_with("name=") || std::find(std::begin(kKnown), std::end(kKnown), option) != std::end(kKnown);
}

// The group that /proc/self/cgroup names for the hierarchy of `controller`; v2: controller "".
std::string member_of(std::string_view membership, std::string_view controller) {
  for (auto& line : split(membership, '\n')) {
    auto number = split_once(line, ':');
    auto fields = number ? split_once(number->second, ':') : std::nullopt;
    if (!fields) continue;
    auto names = split(fields->first, ',');
    if (controller.empty() ? fields->first.empty() : std::find(names.begin(), names.end(), controller) != names.end())
      return fields->second;
  }
  return "";
}

}  // namespace

bool CgroupSystem::has(std::string_view controller) const {
  for (const auto& hierarchy : hierarchies)
    if (std::find(hierarchy.controllers.begin(), hierarchy.controllers.end(), controller) !=
        hierarchy.controllers.end())
      return true;
  return false;
}

const std::string* CgroupPaths::dir_of(std::string_view controller) const {
  for (size_t i = 0; i < dirs.size() && i < controllers.size(); ++i)
    if (std::find(controllers[i].begin(), controllers[i].end(), controller) != controllers[i].end()) return &dirs[i];
  return nullptr;
}

CgroupSystem parse_cgroup_system(std::string_view mountinfo, std::string_view v2_controllers,
                                 std::string_view membership) {
  CgroupSystem v1, v2;
  v2.v2 = true;
  bool real_controllers = false;
  for (auto& line : split(mountinfo, '\n')) {
    size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    auto front = split(std::string_view(line).substr(0, dash), ' ');
    auto back = split(std::string_view(line).substr(dash + 3), ' ');
    if (front.size() < 6 || back.size() < 3) continue;
    if (back[0] == "cgroup2" && v2.hierarchies.empty()) {
      auto& hierarchy = v2.hierarchies.emplace_back();
      hierarchy.mount_point = unescape(front[4]);
      hierarchy.root = unescape(front[3]);
      hierarchy.own = detail::below_root(member_of(membership, ""), hierarchy.root);
      for (auto& name : split(trim(v2_controllers), ' '))
        if (!name.empty()) hierarchy.controllers.push_back(name);
    } else if (back[0] == "cgroup") {
      CgroupHierarchy hierarchy;
      hierarchy.mount_point = unescape(front[4]);
      for (auto& option : split(back[2], ','))
        if (known_controller(option)) hierarchy.controllers.push_back(option);
      // A hierarchy mounted twice counts once.
      if (hierarchy.controllers.empty() || v1.has(hierarchy.controllers.front())) continue;
      hierarchy.root = unescape(front[3]);
      hierarchy.own = detail::below_root(member_of(membership, hierarchy.controllers.front()), hierarchy.root);
      real_controllers |= !hierarchy.controllers.front().starts_with("name=");
      v1.hierarchies.push_back(std::move(hierarchy));
    }
  }
  return real_controllers || v2.hierarchies.empty() ? v1 : v2;
}

Result<CgroupSystem> detect_cgroups() {
  auto mountinfo = TRY(read_file("/proc/self/mountinfo", 64 << 20));
  auto membership = TRY(read_file("/proc/self/cgroup", 1 << 20));
  auto system = parse_cgroup_system(mountinfo, "", membership);
  if (!system.v2) return system;
  auto& top = system.hierarchies.front();
  auto controllers = TRY(read_file(top.mount_point + "/cgroup.controllers", 4096));
  for (auto& name : split(trim(controllers), ' '))
    if (!name.empty()) top.controllers.push_back(name);
  return system;
}

CgroupPaths cgroup_paths(const CgroupSystem& system, std::string_view path) {
  CgroupPaths out;
  out.v2 = system.v2;
  bool relative = !path.starts_with('/');
  std::string clean;
  for (auto& part : split(path, '/'))
    if (!part.empty() && part != ".") clean += "/" + part;
  for (const auto& hierarchy : system.hierarchies) {
    std::string own = relative ? hierarchy.own : "";
    if (system.v2) own.resize(own.empty() ? 0 : own.rfind('/'));
    if (own == "/") own.clear();
    out.dirs.push_back(hierarchy.mount_point + own + clean);
    out.controllers.push_back(hierarchy.controllers);
  }
  return out;
}

}  // namespace caisson::sys
