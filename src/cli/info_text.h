// SPDX-License-Identifier: Apache-2.0
// The texts of `version` and `info`.
#pragma once

#include <string>

#include "cli/app.h"
#include "cli/json_value.h"

namespace caisson::cli {

// {"Client": ..., "Server": ...} from the engine's answer (null: no engine).
JsonValue version_value(const App& app, const JsonValue& server);
std::string version_text(const JsonValue& all);
JsonValue client_info(const App& app);
std::string info_text(const JsonValue& info, bool has_server);

}  // namespace caisson::cli
