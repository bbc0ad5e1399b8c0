// SPDX-License-Identifier: Apache-2.0
// What this process may hand on: asked of the kernel once, at the engine's start.
#include <sys/resource.h>

#include "base/text.h"
#include "engine/spec_builder.h"
#include "sys/files.h"

namespace caisson::engine {

HostLimits own_limits() {
  HostLimits limits;
  if (rlimit own{}; getrlimit(RLIMIT_NOFILE, &own) == 0) limits.nofile_hard = own.rlim_max;
  auto status = sys::read_file("/proc/self/status", 64 << 10);
  size_t at = status ? status->find("\nCapPrm:") : std::string::npos;
  if (at == std::string::npos) return limits;
  std::string_view digits = trim(std::string_view(*status).substr(at + 8, status->find('\n', at + 1) - at - 8));
  uint64_t value = 0;
  for (char c : digits) value = value << 4 | static_cast<uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  limits.capabilities = value;
  return limits;
}

}  // namespace caisson::engine
