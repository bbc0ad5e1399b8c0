// SPDX-License-Identifier: Apache-2.0
// The one JSON form that no table can describe: a list that may come as a single string.
#include "spec/docker_config.h"

namespace caisson::spec {

Result<> StringList::read_json(json::Reader& reader) {
  items.clear();
  present = true;
  if (reader.peek() == json::Reader::Type::kNull) {
    present = false;
    return reader.read_null();
  }
  if (reader.peek() == json::Reader::Type::kString) {
    std::string one;
    TRY(reader.read_string(one));
    items.push_back(std::move(one));
    return {};
  }
  TRY(reader.begin_array());
  while (TRY(reader.next_element())) {
    std::string one;
    TRY(reader.read_string(one));
    items.push_back(std::move(one));
  }
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
