// SPDX-License-Identifier: Apache-2.0
// Shows the JSON messages of pull, push, load and import as Docker's client does: one line per layer,
// redrawn in place on a terminal; without bars elsewhere.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/engine.h"
#include "cli/json_value.h"
#include "cli/output.h"

namespace caisson::cli {

class ProgressDisplay {
 public:
  // `columns` 0: no terminal.
  ProgressDisplay(Output& out, size_t columns) : out_(out), columns_(columns) {}
  // One message; an error message is this call's error.
  Result<> show(const JsonValue& message);

 private:
  Output& out_;
  size_t columns_;
  std::map<std::string, size_t> lines_;  // of the block being redrawn
};

// "[====>   ]  1.2MB/3MB"; "" for no progress.
std::string progress_bar(const JsonValue& detail, size_t columns);

// Cuts a byte stream into its top-level JSON values.
class JsonSplitter {
 public:
  Result<> feed(std::string_view data, const std::function<Result<>(std::string_view)>& each);
  Result<> finish() const;  // kCorrupt when a value is cut off

 private:
  std::string pending_;
  size_t scanned_ = 0, depth_ = 0;
  bool in_string_ = false, escaped_ = false;
};

// Calls `each` for every value of a streamed answer until it ends.
Result<> each_message(Engine::Stream& stream, const std::function<Result<>(const JsonValue&)>& each);

// Reads a streamed answer to its end; shown on `out` unless quiet.
Result<> show_progress(Engine::Stream& stream, Output& out, bool quiet);

}  // namespace caisson::cli
