// SPDX-License-Identifier: Apache-2.0
// Containers as rows of `ps` and `system df`.
#pragma once

#include <span>
#include <string>

#include "cli/json_value.h"
#include "cli/listing.h"

namespace caisson::cli {

std::span<const Column> container_columns();
// From an element of GET /containers/json.
JsonValue container_row(const JsonValue& container, bool truncate);
// "0.0.0.0:8080->80/tcp, 443/tcp": sorted, neighbouring ports joined to ranges.
std::string ports_text(const JsonValue& ports);

}  // namespace caisson::cli
