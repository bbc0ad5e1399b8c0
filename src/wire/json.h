// SPDX-License-Identifier: Apache-2.0
// JSON: a pull reader and a writer over plain text, and field tables that map structs both ways.
// Unknown fields are skipped; wrong types are errors that name the field.
//
// A struct gets its table next to its definition, at namespace scope of caisson (or of the struct):
//
//   struct PortBinding { std::string host_ip, host_port; };
//   CAISSON_JSON(PortBinding, CAISSON_FIELD("HostIp", host_ip), CAISSON_FIELD("HostPort", host_port))
//
// and then json::decode<PortBinding>(text), json::encode(binding). Members may be bool, the integer
// types, double, std::string, std::vector<T>, std::map<std::string, T>, std::optional<T> (absent or
// null), json::Raw (any value, kept as text) and structs with a table of their own, nested freely.
// CAISSON_FIELD always writes the field (an empty vector as [], an empty map as {});
// CAISSON_FIELD_OMIT leaves it out when it is false, 0, "", empty or nullopt;
// CAISSON_FIELD_NULL writes null where it is an empty vector, map or optional (Go's nil).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace caisson::json {

// Any JSON value as its text; empty means absent (written as null).
struct Raw {
  std::string text;
};

struct Limits {
  size_t max_depth = 128;
};

}  // namespace caisson::json
