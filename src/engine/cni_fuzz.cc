// SPDX-License-Identifier: Apache-2.0
// What administrators and plugins of CNI write.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "engine/cni_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson::engine;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto list = parse_cni_list(text)) {
    for (const auto& plugin : list->plugins) (void)cni_plugin_input(*list, plugin, {{"prevResult", "{}"}});
    auto again = parse_cni_list(list->encode());
    if (!again || again->plugins.size() != list->plugins.size()) abort();
  }
  (void)parse_cni_result(text, "eth0");
  if (cni_error_sentence(text).size() > 1100) abort();
  return 0;
}
