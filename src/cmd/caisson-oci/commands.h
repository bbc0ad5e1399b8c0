// SPDX-License-Identifier: Apache-2.0
// The subcommands and what they share: options given before the command, and the state directory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/container.h"
#include "spec/oci_runtime.h"

namespace caisson::oci {

struct Options {
  std::string root = "/run/caisson-oci";  // one directory per container below
};

// Each returns the exit status of the program.
Result<int> run_command(const Options& options, const std::vector<std::string>& args);
Result<int> exec_command(const Options& options, const std::vector<std::string>& args);
Result<int> state_command(const Options& options, const std::vector<std::string>& args);
Result<int> spec_command(const Options& options, const std::vector<std::string>& args);

// What is remembered of a container between calls.
struct Record {
  std::string id, bundle, cgroup_path;
  int64_t pid = 0;
  uint64_t start_time = 0;  // tells the process from a later one with the same pid
};
CAISSON_JSON(Record, CAISSON_FIELD("id", id), CAISSON_FIELD("bundle", bundle), CAISSON_FIELD("cgroupPath", cgroup_path),
             CAISSON_FIELD("pid", pid), CAISSON_FIELD("startTime", start_time))

Result<> check_id(const std::string& id);
// kExists when a container of that name has a directory already.
Result<> reserve(const Options& options, const std::string& id);
Result<> save(const Options& options, const Record& record);
Result<Record> load(const Options& options, const std::string& id);
Result<> forget(const Options& options, const std::string& id);
// The pidfd of the container's first process; nothing when it has ended.
std::optional<UniqueFd> open_process(const Record& record);

// Copies between our terminal and the container's, passes signals on, and returns the exit status.
Result<int> stay_in_foreground(runtime::Started& started);

// "--name VALUE", "--name=VALUE", "-n VALUE": takes the option out of `args` when it stands at `at`.
std::optional<std::string> take_option(const std::vector<std::string>& args, size_t& at, const char* name, const char* short_name);

}  // namespace caisson::oci
