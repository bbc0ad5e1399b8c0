// SPDX-License-Identifier: Apache-2.0
// cgroups by way of systemd: a container's group is a transient scope (or slice) that the manager makes,
// so that systemd and we do not write to the same tree. The bus calls are made by `caisson-systemd`, a small
// program of its own, as static programs cannot link libsystemd.
//
// Life of a container with it:
//   unit  = systemd_unit_of(spec.linux.cgroupsPath, id, rootless)
//   scope = start_systemd_unit(program, {unit, ...})        the scope exists; scope.cgroup is its path
//   create_cgroup(system, scope.cgroup, {IfThere::kJoin})   v1 hierarchies that systemd leaves alone,
//                                                           v2 controllers that it does not enable
//   apply_cgroup_limits(...)                                what has no property of its own
//   the container is made in that group
//   scope.holder.release()                                  nobody but the container is in it now
//   ...
//   complete_cgroup_limits(...), set_systemd_properties(...), then update_cgroup_limits(...)
//   stop_systemd_unit(...), which kills what is left; remove_cgroup for the hierarchies that are ours
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/cgroup.h"
#include "sys/process.h"

namespace caisson::sys {

struct SystemdUnit {
  std::string slice;  // "system.slice", "machine-web.slice"; empty: the manager's own choice ("-.slice")
  std::string name;   // "docker-1234.scope", or a slice of its own: "pod7.slice"
  bool is_slice() const { return name.ends_with(".slice"); }
  bool operator==(const SystemdUnit&) const = default;
};
// cgroupsPath as the systemd driver has it, "slice:prefix:name"; empty stands for "::caisson:ID". An empty
// slice is system.slice, for a user user.slice. A name that ends in ".slice" is a slice unit. kInvalid.
Result<SystemdUnit> systemd_unit_of(std::string_view cgroups_path, std::string_view id, bool rootless);
// Where a slice lies: "a-b.slice" -> "/a.slice/a-b.slice", "-.slice" -> "/". kInvalid.
Result<std::string> slice_path(std::string_view slice);

// A value of the bus: `signature` is one of b t s x d i u q n y, or an array of one of those ("as", "ay").
struct SystemdProperty {
  std::string name, signature;
  std::vector<std::string> values;  // an array's items in order; otherwise one. Numbers in decimal
  bool operator==(const SystemdProperty&) const = default;
};
// An annotation "org.systemd.property.NAME": `text` is in GVariant's text format ("'x'", "true", "uint64 5",
// "['a', 'b']"). A NAME ending in Sec takes seconds and becomes USec. kInvalid.
Result<SystemdProperty> systemd_property_of(std::string_view name, std::string_view text);
// What of the limits systemd has properties for; the rest is for apply_cgroup_limits alone. kInvalid as
// apply_cgroup_limits.
Result<std::vector<SystemdProperty>> systemd_properties_of(const CgroupLimits& limits, bool v2);

// How the program is reached and which manager it asks.
struct SystemdManager {
  std::string program;  // path of caisson-systemd
  bool user = false;    // the user's own manager, reached by XDG_RUNTIME_DIR or DBUS_SESSION_BUS_ADDRESS
};

// A process that keeps a fresh scope alive until the container is in it: systemd removes an empty one.
class SystemdHolder {
 public:
  SystemdHolder() = default;
  SystemdHolder(Child child, UniqueFd leash) : child_(std::move(child)), leash_(std::move(leash)) {}
  SystemdHolder(SystemdHolder&&) = default;
  SystemdHolder& operator=(SystemdHolder&& other);
  ~SystemdHolder() { release(); }
  void release();  // ends it and waits; it has left the group then

 private:
  Child child_;
  UniqueFd leash_;
};

struct SystemdScope {
  SystemdUnit unit;
  // Moved into the scope. 0: a holder, for a caller that may put processes into the scope itself (root).
  // A slice unit takes no processes.
  pid_t pid = 0;
  std::string description;
  std::vector<SystemdProperty> properties;  // of the limits, then those of annotations
};
struct SystemdStarted {
  std::string cgroup;  // "/system.slice/docker-1234.scope": below the hierarchies' mount points
  SystemdHolder holder;
};
// Blocks until systemd has done it, 30 s at most. kExists when a unit of that name is active.
// kUnavailable: no systemd, no bus, no program.
Result<SystemdStarted> start_systemd_unit(const SystemdManager& manager, const SystemdScope& scope);
// Kills what is in it and forgets a failed unit. A unit that is gone already is success.
Result<> stop_systemd_unit(const SystemdManager& manager, const std::string& unit);
// Until the unit ends (not written to disk).
Result<> set_systemd_properties(const SystemdManager& manager, const std::string& unit,
                                const std::vector<SystemdProperty>& properties);

// Moves a process into the unit's group where only the manager may: a user's process from a session's group
// into a scope of the user's manager.
Result<> attach_to_systemd_unit(const SystemdManager& manager, const std::string& unit, pid_t pid);

// The request as the program reads it from its stdin: the number of properties, then for each its name, its
// signature, the number of values and the values; every field ends in a zero byte.
std::string encode_systemd_properties(const std::vector<SystemdProperty>& properties);

}  // namespace caisson::sys
