// SPDX-License-Identifier: Apache-2.0
// Kernel settings of one interface inside a container, as com.docker.network.endpoint.sysctls gives them.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace caisson::network {

struct Setting {
  std::string path, value;
};

// "net.ipv4.conf.IFNAME.log_martians=1": kInvalid for anything that is not of an interface, so that nothing else of the
// namespace can be reached by it.
Result<std::vector<Setting>> parse_settings(const std::vector<std::string>& texts, const std::string& interface);

// In the calling thread's network namespace.
Result<> apply_settings(const std::vector<Setting>& settings);

}  // namespace caisson::network
