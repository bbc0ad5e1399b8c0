// SPDX-License-Identifier: Apache-2.0
// Reading any text must be safe, and what was read must be written as something that reads the same.
#include <cstdlib>

#include "wire/json.h"

namespace {
struct Node {
  bool flag = false;
  int16_t small = 0;
  uint64_t big = 0;
  double real = 0;
  std::string text;
  caisson::json::Raw raw;
  std::optional<std::string> maybe;
  std::vector<Node> list;
  std::map<std::string, Node> map;
};
CAISSON_JSON(Node, CAISSON_FIELD_OMIT("f", flag), CAISSON_FIELD_OMIT("s", small), CAISSON_FIELD_OMIT("b", big),
             CAISSON_FIELD_OMIT("r", real), CAISSON_FIELD_OMIT("t", text), CAISSON_FIELD_OMIT("w", raw),
             CAISSON_FIELD_NULL("m", maybe), CAISSON_FIELD_OMIT("l", list), CAISSON_FIELD_OMIT("p", map))
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  using namespace caisson;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  json::Limits limits{.max_depth = 40, .max_element_bytes = 1 << 20};
  if (auto node = json::decode<Node>(text, limits)) {
    std::string once = json::encode(*node);
    auto again = json::decode<Node>(once, {.max_depth = 80});
    if (!again || json::encode(*again) != once) abort();
  }
  json::Reader reader(text, limits);
  bool valid = reader.skip_value() && reader.finish();
  if (valid != json::indent(text, " ").has_value() && size < 40) abort();
  return 0;
}
