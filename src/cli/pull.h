// SPDX-License-Identifier: Apache-2.0
// Pulling an image, for `pull` itself and for `run` and `create` that miss one.
#pragma once

#include <string>

#include "cli/app.h"

namespace caisson::cli {

struct PullOptions {
  std::string image;  // as given
  std::string platform;
  bool quiet = false;
  bool all_tags = false;
};
// Progress goes to `out`.
Result<> pull_image(App& app, const PullOptions& options, Output& out);

// Value of X-Registry-Auth for a registry domain from the user's logins, "" without one. A credential helper that fails
// is told on standard error.
std::string registry_auth(App& app, const std::string& domain);

}  // namespace caisson::cli
