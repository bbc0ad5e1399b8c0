// SPDX-License-Identifier: Apache-2.0
// One line of `stats` from a sample, by the formulas of Docker's client.
#pragma once

#include <string>

#include "cli/json_value.h"

namespace caisson::cli {

double cpu_percent(const JsonValue& sample);
// Without the page cache that can be dropped at once.
double used_memory(const JsonValue& sample);
JsonValue stats_row(const JsonValue& sample, const std::string& name, bool truncate);
void wait_a_second();

}  // namespace caisson::cli
