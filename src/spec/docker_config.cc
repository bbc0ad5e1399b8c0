// SPDX-License-Identifier: Apache-2.0
// The one JSON form that no table can describe: a list that may come as a single string.
#include "spec/docker_config.h"

namespace caisson::spec {

Result<> StringList::read_json(json::Reader& reader) {
  items.clear();
  present = true;
  if (reader.peek() == json::ValueType::kString) {
    items.push_back(TRY(reader.read_string()));
    return {};
  }
  TRY(reader.begin_array());
  while (TRY(reader.next_element())) items.push_back(TRY(reader.read_string()));
  return {};
}

void StringList::write_json(json::Writer& writer) const {
  if (!present) {
    writer.null();
    return;
  }
  writer.begin_array();
  for (const auto& item : items) writer.string(item);
  writer.end_array();
}

}  // namespace caisson::spec
