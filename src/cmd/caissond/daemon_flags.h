// SPDX-License-Identifier: Apache-2.0
// The tables of caissond's flags: each a name, its key in daemon.json, and what it sets. Internal to the program.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cmd/caissond/daemon_options.h"

namespace caisson {

enum class FlagForm : unsigned char { kSingle, kList, kMap };

struct Flag {
  const char* name;
  const char* key;       // in daemon.json; nullptr: flag only
  const char* argument;  // nullptr: a switch
  const char* help;
  Result<> (*apply)(DaemonOptions& options, const std::string& value);
  FlagForm form = FlagForm::kSingle;
  bool reloadable = false;  // SIGHUP takes it from the file
};

std::span<const Flag> core_flags();      // where things lie, how it talks
std::span<const Flag> access_flags();    // who reaches it
std::span<const Flag> default_flags();   // what containers get that say nothing
std::span<const Flag> network_flags();   // addresses, bridges and rules
std::span<const Flag> store_flags();     // images and containers on the disk, the registry server
std::span<const Flag> cni_flags();       // networks of CNI plugins
std::span<const Flag> transfer_flags();  // transfers, features, metrics
std::vector<std::span<const Flag>> all_flags();
const Flag* find_flag(std::string_view name);
const Flag* find_key(std::string_view key);

// "20g", "512MiB".
Result<int64_t> parse_size(const std::string& value);
Result<bool> parse_bool(const std::string& value);
Result<> absolute_path(const std::string& value, std::string& target);

}  // namespace caisson
