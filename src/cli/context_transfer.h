// SPDX-License-Identifier: Apache-2.0
// Contexts as archives, and the current one in config.json.
#pragma once

#include <string>

#include "base/bytes.h"
#include "cli/command.h"
#include "cli/context_store.h"

namespace caisson::cli {

// meta.json and the TLS files, as Docker's client writes and reads them.
Result<> write_context_archive(ByteSink& sink, const ContextRecord& record);
// From anywhere: bounded in members and bytes, and nothing but the names above. The record gets `name`.
Result<ContextRecord> read_context_archive(ByteSource& source, const std::string& name);

Result<int> export_context(App& app, const Invocation& call);
Result<int> import_context(App& app, const Invocation& call);

// "" for none; everything else in the file stays as it is.
std::string current_context(const std::string& config_dir);
Result<> set_current_context(const std::string& config_dir, const std::string& name);

}  // namespace caisson::cli
