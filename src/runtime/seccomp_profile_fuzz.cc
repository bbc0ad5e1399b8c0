// SPDX-License-Identifier: Apache-2.0
// User profiles: what parses must compile or be refused, and the filter must end in an answer.
#include "runtime/seccomp_profile.h"
#include "sys/seccomp_filter.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  using namespace caisson;
  runtime::SeccompContext context{0xa80425fb, "amd64", {6, 1}};
  auto profile = runtime::parse_seccomp_profile({reinterpret_cast<const char*>(data), size}, context);
  if (!profile) return 0;
  if (auto filter = runtime::compile_seccomp(*profile))
    for (uint32_t number : {0u, 1u, 56u, 435u, 9999u})
      sys::run_seccomp(*filter, 0xc000003e, number, {1, 2, 3, 4, 5, 6});
  return 0;
}
