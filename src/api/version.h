// SPDX-License-Identifier: Apache-2.0
// What this engine calls itself.
#pragma once

namespace caisson::api {

inline constexpr const char* kEngineVersion = "0.1.0";
#ifdef CAISSON_GIT_COMMIT
inline constexpr const char* kGitCommit = CAISSON_GIT_COMMIT;
#else
inline constexpr const char* kGitCommit = "";
#endif

}  // namespace caisson::api
