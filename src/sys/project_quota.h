// SPDX-License-Identifier: Apache-2.0
// Project quotas (ext4 and xfs with prjquota): how much the files below a directory may take together. Linux 5.14.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace caisson::sys {

// Does the file system of `directory` count and limit projects? kUnsupported says what is missing.
Result<> check_project_quota(const std::string& directory);

// All of `directories`, empty ones on one file system, get one project of their own with a limit of `bytes`. What is
// made below them belongs to it. The number is kept by the directories; it goes with them.
Result<> limit_project(const std::vector<std::string>& directories, int64_t bytes);

}  // namespace caisson::sys
