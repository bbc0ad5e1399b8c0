// SPDX-License-Identifier: Apache-2.0
// The request on stdin: unit properties as sys/systemd_cgroup.h writes them. Types are checked here, so
// that sd-bus is only asked for what it has.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace caisson::systemd {

struct Property {
  std::string name;
  char type = 0;  // b t s x d i u q n y
  bool array = false;
  std::vector<std::string> values;
};

inline constexpr size_t kMaxRequest = 1 << 20;

// Takes the fields off stdin one by one; what follows the last one stays unread.
Result<std::vector<Property>> read_request(int fd);

}  // namespace caisson::systemd
