// SPDX-License-Identifier: Apache-2.0
// The key sequence that leaves an attached terminal, "ctrl-p,ctrl-q" unless the user says otherwise.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace caisson::cli {

// "ctrl-a,b" as bytes; "" gives the default sequence.
Result<std::string> parse_detach_keys(std::string_view text);

// Watches what is typed. A sequence may be split over reads; it is passed on like any other input,
// because the engine watches for it as well.
class DetachDetector {
 public:
  explicit DetachDetector(std::string keys) : keys_(std::move(keys)) {}
  // True when `data` completes the sequence.
  bool feed(std::string_view data);

 private:
  std::string keys_;
  size_t matched_ = 0;
};

}  // namespace caisson::cli
