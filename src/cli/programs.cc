// SPDX-License-Identifier: Apache-2.0
#include "cli/programs.h"

#include <unistd.h>

#include "base/text.h"
#include "cli/host.h"

namespace caisson::cli {

std::string find_program(const std::vector<std::string>& environment, const std::string& name) {
  std::string path = environment_value(environment, "PATH");
  for (auto& directory : split(path.empty() ? "/usr/local/bin:/usr/bin:/bin" : path, ':')) {
    std::string program = (directory.empty() ? "." : directory) + "/" + name;
    if (access(program.c_str(), X_OK) == 0) return program;
  }
  return "";
}

}  // namespace caisson::cli
