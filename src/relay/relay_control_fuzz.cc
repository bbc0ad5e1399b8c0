// SPDX-License-Identifier: Apache-2.0
// The bytes as lines, each a request of the engine: what is in the table then must be what it was told last.
#include <cstdlib>
#include <string_view>

#include "relay/table.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  using namespace caisson;
  using namespace caisson::relay;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  Table table;
  uint64_t generation = 1;
  while (!rest.empty()) {
    size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    auto request = json::decode<ControlRequest>(line, {.max_depth = 4, .max_element_bytes = 1 << 16});
    if (!request) continue;
    if (request->type == "hello") ++generation;
    if (request->type == "sync") table.drop_others(generation);
    auto entry = read_entry(*request, request->type != "remove");
    if (!entry) continue;
    Endpoint last{entry->host.address, static_cast<uint16_t>(entry->host.port + entry->count - 1)};
    if (request->type == "remove") {
      table.remove(*entry);
      continue;
    }
    auto put = table.put(*entry, generation);
    if (!put) continue;
    for (const Endpoint& asked : {entry->host, last}) {
      auto found = table.find(entry->udp, asked);
      auto offset = static_cast<uint16_t>(asked.port - entry->host.port);
      if (!found || found->number != put->number || found->container.port != entry->container.port + offset) abort();
    }
    auto text = format_address(entry->host.address);
    if (parse_address(text) != entry->host.address) abort();
    if (socket_address(entry->container).size == 0) abort();
  }
  return 0;
}
