// SPDX-License-Identifier: Apache-2.0
// Checkpoint and restore are the work of the program criu: its command lines, and how it is run.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "commands.h"
#include "record.h"
#include "spec/oci_runtime.h"

namespace caisson::oci {

// What checkpoint and restore have in common, made from the flags.
struct CriuJob {
  std::string images, work;              // directories
  std::string log;                       // file in `work`
  std::vector<std::string> args;         // criu's own, without the program
  std::vector<std::pair<int, int>> fds;  // {here, in criu}
};

// The flags that mean the same in both commands, as criu has them. kInvalid for values that make no sense.
Result<std::vector<std::string>> common_criu_args(const Parsed& flags);
// Mounts that come from outside: {mount point in the container, source on the host}.
std::vector<std::pair<std::string, std::string>> external_mounts(const spec::RuntimeSpec& spec,
                                                                 const std::string& bundle,
                                                                 const sys::CgroupPaths& cgroup);
// The last line of a criu log that tells of an error, without its time stamp.
std::string last_error_of(std::string_view log);

// Absolute directories, made if absent.
Result<CriuJob> criu_job(const Parsed& flags, const char* log);
// Runs it to its end; kInternal with criu's last error.
Result<> run_criu(const Options& options, const CriuJob& job);

}  // namespace caisson::oci
