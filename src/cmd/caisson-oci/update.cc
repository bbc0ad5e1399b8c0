// SPDX-License-Identifier: Apache-2.0
// `update`: other limits for a container that runs.
#include "base/text.h"
#include "runtime/plan_builder.h"
#include "sys/cgroup.h"
#include "sys/files.h"
#include "sys/systemd_cgroup.h"

#include "commands.h"
#include "resources.h"
#include "setup.h"

namespace caisson::oci {

namespace {

using enum Flag::Kind;

constexpr Flag kFlags[] = {
    {"resources", 'r', kValue,
     "file with the resources section of a specification, '-' for the standard input; other options count for nothing "
     "then"},
    {"blkio-weight", 0, kValue, "weight of block I/O, from 10 to 1000"},
    {"cpu-period", 0, kValue, "CPU CFS period to be used for hardcapping (in usecs)"},
    {"cpu-quota", 0, kValue, "CPU CFS hardcap limit (in usecs): allowed CPU time in a given period"},
    {"cpu-burst", 0, kValue, "CPU CFS hardcap burst limit (in usecs): time saved up beyond the quota"},
    {"cpu-share", 0, kValue, "CPU shares (relative weight vs. other containers)"},
    {"cpu-rt-period", 0, kValue, "CPU realtime period to be used for hardcapping (in usecs)"},
    {"cpu-rt-runtime", 0, kValue, "CPU realtime hardcap limit (in usecs): allowed CPU time in a given period"},
    {"cpu-idle", 0, kValue, "1: runs only when nothing else does"},
    {"cpuset-cpus", 0, kValue, "CPU(s) to use"},
    {"cpuset-mems", 0, kValue, "memory node(s) to use"},
    {"memory", 0, kValue, "memory limit (in bytes)"},
    {"memory-reservation", 0, kValue, "memory reservation or soft limit (in bytes)"},
    {"memory-swap", 0, kValue, "total memory usage (memory + swap); '-1' for unlimited swap"},
    {"kernel-memory", 0, kValue, "has no effect: kernels gave it up"},
    {"kernel-memory-tcp", 0, kValue, "has no effect: kernels gave it up"},
    {"pids-limit", 0, kValue, "maximum number of processes, '-1' for unlimited"},
    {"l3-cache-schema", 0, kValue, "not supported: Intel RDT"},
    {"mem-bw-schema", 0, kValue, "not supported: Intel RDT"},
};
constexpr Usage kUsage{"update", "<container-id>", "update container resource constraints", "", kFlags, 1, 1};

Result<spec::OciResources> wanted_resources(const Parsed& flags) {
  const std::string* file = flags.find("resources");
  if (!file) return resources_of_flags(flags);
  auto text = *file == "-" ? sys::read_fd(0) : sys::read_file(*file);
  auto resources = TRY_CTX(json::decode<spec::OciResources>(TRY(std::move(text))), "resources");
  // Rules for devices belong to the container's making; callers send the rest of what they know along.
  resources.devices.clear();
  return resources;
}

Result<int> update(const Options& options, const Parsed& flags) {
  if (flags.has("l3-cache-schema") || flags.has("mem-bw-schema"))
    return fail(ErrorKind::kUnsupported, "Intel RDT is not supported");
  auto limits = TRY(runtime::build_limits(TRY(wanted_resources(flags))));
  auto directory = TRY(Directory::open(options.root, flags.arguments[0]));
  TRY(directory.lock());
  auto record = TRY(directory.load());
  if (!is_alive(record)) return fail(ErrorKind::kConflict, "container not running");
  if (record.cgroup.empty()) return fail(ErrorKind::kUnsupported, "a container without a cgroup has no limits");
  if (!record.systemd_unit.empty()) {
    auto complete = sys::complete_cgroup_limits(record.cgroup, limits);
    auto properties = TRY(sys::systemd_properties_of(complete, record.cgroup.v2));
    TRY(sys::set_systemd_properties({systemd_program(), record.rootless}, record.systemd_unit, properties));
  }
  TRY(sys::update_cgroup_limits(record.cgroup, limits, {record.rootless}));
  return 0;
}

}  // namespace

constinit const Command kUpdateCommand{&kUsage, update};

}  // namespace caisson::oci
