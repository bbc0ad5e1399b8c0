// SPDX-License-Identifier: Apache-2.0
// registries.conf: the administrator's, but a mistake in it must end in a message.
#include <cstdint>
#include <cstdlib>

#include "image/fetch_registries.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  std::string text(reinterpret_cast<const char*>(data), size);
  auto config = image::parse_registries_conf(text, "f");
  if (!config) {
    if (config.error().message.empty()) abort();
    return 0;
  }
  static const auto reference = *spec::parse_reference("q.a.example:5000/team/app:1");
  if (const auto* rule = config->find(reference)) {
    auto name = image::relocate(*rule, rule->location, reference.full());
    if (name.empty()) abort();
    (void)spec::parse_reference(name);
  }
  return 0;
}
