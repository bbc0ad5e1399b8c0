// SPDX-License-Identifier: Apache-2.0
// What several container commands share.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/app.h"
#include "cli/command.h"
#include "cli/json_value.h"

namespace caisson::cli {

// Runs `each` for every name, up to 50 at once with an engine connection each: stopping ten containers takes
// as long as the slowest. The results stand in the order of the names.
std::vector<Result<>> run_for_all(App& app, const std::vector<std::string>& names,
                                  const std::function<Result<>(Engine&, const std::string&)>& each);

// Names that went well are printed, errors follow. Exit code 1 when any failed.
Result<int> print_outcomes(App& app, const std::vector<std::string>& names, const std::vector<Result<>>& outcomes);

Result<JsonValue> inspect_container(App& app, const std::string& name);

// --filter values as the API's JSON object of lists.
std::string filters_json(const std::vector<std::string>& filters);

// "k=v" texts as the API's JSON object; what has no "=" is a key with "".
JsonValue string_map(const std::vector<std::string>& pairs);
// DELETE of every name below `path`, up to 50 at once; prints as print_outcomes() does.
Result<int> remove_objects(App& app, const std::vector<std::string>& names, std::string_view path,
                           const http::Query& query = {});

// An image name as path: percent-coded but for the slashes.
std::string name_path(std::string_view name);
std::string short_id(std::string_view id);  // 12 digits, without "sha256:"
// Seconds since 1970 of an API time.
int64_t unix_seconds(const std::string& rfc3339);
// "2024-05-01 10:20:30 +0000 UTC" in local time, as Go prints a time.
std::string local_time_text(int64_t seconds);
std::string age_text(int64_t seconds);  // "3 minutes ago"

}  // namespace caisson::cli
