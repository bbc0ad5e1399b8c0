// SPDX-License-Identifier: Apache-2.0
// Finding the programs that the client starts for its user: credential helpers, ssh.
#pragma once

#include <string>
#include <vector>

namespace caisson::cli {

// The first executable of that name in PATH of `environment`; "" when there is none.
std::string find_program(const std::vector<std::string>& environment, const std::string& name);

}  // namespace caisson::cli
