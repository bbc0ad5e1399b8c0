// SPDX-License-Identifier: Apache-2.0
// Where `cp` puts what, by Docker's rules for existing, missing and slash-ended destinations. What it needs of
// the local file system is looked up here too; nothing is copied.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "base/result.h"

namespace caisson::cli {

struct LocalPath {
  std::string path;  // absolute; a trailing slash or "/." is kept
  bool exists = false, is_directory = false;
  std::string rebase = {};  // name in the archive where a followed link changed it
};

struct CopyPlan {
  std::string directory;                                      // to extract in
  std::optional<std::pair<std::string, std::string>> rename;  // in the archive's names
};

// Pure.
Result<CopyPlan> plan_copy(const LocalPath& source, const LocalPath& destination);
// The last part: "." of "a/.", "b" of "a/b/".
std::string path_base(const std::string& path);
// The path that `link` leads to, with what stood behind the link's name kept; `rebase` is set when the last
// part has become another.
std::string rebase_name(const std::string& path, std::string target, std::string& rebase);

Result<std::string> absolute_local_path(const std::string& path);
Result<> check_output_path(const std::string& path);
Result<LocalPath> local_destination(const std::string& path);
Result<LocalPath> local_source(const std::string& path, bool follow_link);

}  // namespace caisson::cli
